import { createHash } from "node:crypto";
import { type CronCheck, type FunctionSpec, KsError, parseFunctionSpec, type Problem } from "@kube-serverless/contracts";
import type { DeclaredProblem } from "../declared.ts";
import type { SpecWithoutCode } from "../port.ts";
import { canonicalJson, REVISION_FIELDS } from "../revision-fields.ts";
import type { FunctionObject } from "./objects.ts";

/** A spec as it was read: without its code, and with what is wrong with it. */
export interface ReadSpec {
  spec: SpecWithoutCode;
  problem: DeclaredProblem | undefined;
}

/** Stands for code that is elsewhere, so that the rest can be checked. */
const PLACEHOLDER = "-";

/** Reads what the custom resource asks for, with all checks of the REST API. */
export function readSpec({ metadata: { name }, spec }: FunctionObject, checkCron: CronCheck): ReadSpec {
  const { codeFrom: _codeFrom, ...given } = spec;
  try {
    return {
      spec: withoutCode(parseFunctionSpec({ ...given, code: given.code ?? PLACEHOLDER }, { name, cron: checkCron })),
      problem: undefined,
    };
  } catch (error) {
    const problems = error instanceof KsError ? (error.details as Problem[]) : [];
    const message = problems.map((problem) => `${problem.path} ${problem.message}`).join("; ");
    return { spec: readLeniently(name, given), problem: { reason: "InvalidSpec", message: `InvalidSpec: ${message}` } };
  }
}

/** Enough to be shown; its triggers lead nowhere. */
function readLeniently(name: string, given: Record<string, unknown>): SpecWithoutCode {
  const bare = { name, runtime: "nodejs18", handler: "index.handler", code: PLACEHOLDER };
  return { ...withoutCode(parseFunctionSpec(bare)), ...withoutCode(given), name, triggers: [] };
}

/** The custom resource's spec, but for its code. */
export function writeSpec({ name: _name, code: _code, ...spec }: FunctionSpec): Record<string, unknown> {
  return spec;
}

function withoutCode<T extends { code?: unknown }>({ code: _code, ...spec }: T): Omit<T, "code"> {
  return spec;
}

/** Equal for specs that the same replicas serve. */
export function hashRevision(spec: SpecWithoutCode, codeHash: string): string {
  const settings = REVISION_FIELDS.map((field) => spec[field]);
  return createHash("sha256")
    .update(canonicalJson([codeHash, ...settings]))
    .digest("base64url");
}
