import type { FunctionSpec } from "@kube-serverless/contracts";
import type { SpecWithoutCode } from "../store/port.ts";
import { canonicalJson, REVISION_FIELDS } from "../store/revision-fields.ts";

export function withoutCode(spec: FunctionSpec): SpecWithoutCode {
  const { code: _code, ...rest } = spec;
  return rest;
}

/** What a new spec is to the one before: the same, a change in place, or one that needs new replicas. */
export function compareSpecs(before: SpecWithoutCode, after: SpecWithoutCode, sameCode: boolean): "same" | "in-place" | "revision" {
  if (!sameCode) return "revision";
  for (const field of REVISION_FIELDS) if (canonicalJson(before[field]) !== canonicalJson(after[field])) return "revision";
  return canonicalJson(before) === canonicalJson(after) ? "same" : "in-place";
}
