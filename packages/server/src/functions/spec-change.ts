import type { FunctionSpec } from "@kube-serverless/contracts";
import type { SpecWithoutCode } from "../store/port.ts";

/** The fields whose change needs new replicas; the code is compared apart. */
const REVISION_FIELDS = ["runtime", "handler", "environment", "memory", "concurrency", "timeout", "network"] as const;

export function withoutCode(spec: FunctionSpec): SpecWithoutCode {
  const { code: _code, ...rest } = spec;
  return rest;
}

/** Canonical JSON, so that the order of keys is no difference. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** What a new spec is to the one before: the same, a change in place, or one that needs new replicas. */
export function compareSpecs(before: SpecWithoutCode, after: SpecWithoutCode, sameCode: boolean): "same" | "in-place" | "revision" {
  if (!sameCode) return "revision";
  for (const field of REVISION_FIELDS) if (canonical(before[field]) !== canonical(after[field])) return "revision";
  return canonical(before) === canonical(after) ? "same" : "in-place";
}
