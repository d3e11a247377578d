import {
  checkEnvironmentName,
  checkEnvironmentValue,
  countEnvironmentBytes,
  countUtf8Bytes,
  MAX_ENVIRONMENT_BYTES,
  MAX_ENVIRONMENT_ENTRIES,
} from "./environment.ts";
import { KsError } from "./error.ts";
import { defaultConcurrency, FunctionSpec, MAX_CODE_BYTES } from "./function.ts";
import { checkHandler } from "./handler.ts";
import { boundProblems, describeIssues, formatPath, type Problem, sortProblems } from "./problem.ts";
import { languageOf, Runtime } from "./runtime.ts";
import { checkTriggers, type CronCheck } from "./trigger-checks.ts";

/** Fields that reading a function returns beside its spec; accepted and ignored, so that what was read can be put back. */
export const READ_ONLY_FIELDS = ["uid", "createdAt", "generation", "revision", "status"] as const;

const SPEC_FIELDS = Object.keys(FunctionSpec.shape);

export interface SpecChecks {
  /** Name in the request's path: the body's may be left out, and must not differ. */
  name?: string;
  /** Without it schedules are taken as they are. */
  cron?: CronCheck;
}

/** Checks a body as a whole and fills in the defaults. @throws KsError `INVALID_REQUEST` whose details list every problem */
export function parseFunctionSpec(input: unknown, checks: SpecChecks = {}): FunctionSpec {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new KsError("INVALID_REQUEST", { details: [{ path: "", message: "must be a JSON object" }] });
  }
  const given = takeSpecFields(input as Record<string, unknown>, checks.name);
  const parsed = FunctionSpec.safeParse(given);
  const problems = parsed.success ? [] : describeIssues(parsed.error.issues, SPEC_FIELDS);
  const told = new Set(problems.map((problem) => problem.path));
  problems.push(...findSpecProblems(given, checks).filter((problem) => !told.has(problem.path)));
  if (!parsed.success || problems.length > 0)
    throw new KsError("INVALID_REQUEST", { details: boundProblems(sortProblems(problems, given)) });
  return { ...parsed.data, concurrency: parsed.data.concurrency ?? defaultConcurrency(parsed.data.runtime) };
}

function takeSpecFields(input: Record<string, unknown>, name: string | undefined): Record<string, unknown> {
  const readOnly: readonly string[] = READ_ONLY_FIELDS;
  const entries = Object.entries(input).filter(([key]) => !readOnly.includes(key));
  if (name !== undefined && !Object.hasOwn(input, "name")) entries.push(["name", name]);
  // Keeps a field called __proto__ a field, so that it is refused like any unknown one.
  return Object.fromEntries(entries);
}

/** What the schema cannot say; values of a wrong type are left to it. */
function findSpecProblems(given: Readonly<Record<string, unknown>>, checks: SpecChecks): Problem[] {
  const { code, environment, triggers } = given;
  const problems = [...checkName(given, checks.name), ...checkHandlerOf(given), ...checkReplicas(given)];
  if (typeof code === "string") problems.push(...checkCode(code));
  const isObject = typeof environment === "object" && environment !== null && !Array.isArray(environment);
  const variables = isObject ? (environment as Record<string, unknown>) : {};
  problems.push(...checkEnvironment(variables));
  if (Array.isArray(triggers)) problems.push(...checkTriggers(triggers.slice(0, 64), variables, checks.cron));
  return problems;
}

function checkName({ name }: Readonly<Record<string, unknown>>, expected: string | undefined): Problem[] {
  if (expected === undefined || name === expected) return [];
  return [{ path: "name", message: `must be '${expected}' as in the path, or left out: a function cannot be renamed` }];
}

function checkHandlerOf({ handler, runtime }: Readonly<Record<string, unknown>>): Problem[] {
  if (typeof handler !== "string" || handler === "") return [];
  const message = checkHandler(handler, Runtime.safeParse(runtime).success ? languageOf(runtime as string) : undefined);
  return message === undefined ? [] : [{ path: "handler", message }];
}

function checkReplicas({ minReplicas, maxReplicas }: Readonly<Record<string, unknown>>): Problem[] {
  const minimum = minReplicas ?? FunctionSpec.shape.minReplicas.parse(undefined);
  const maximum = maxReplicas ?? FunctionSpec.shape.maxReplicas.parse(undefined);
  if (typeof minimum !== "number" || typeof maximum !== "number" || minimum <= maximum) return [];
  return [{ path: "minReplicas", message: `must not be above maxReplicas (${maximum})` }];
}

function checkCode(code: string): Problem[] {
  const bytes = countUtf8Bytes(code);
  if (bytes > MAX_CODE_BYTES) return [{ path: "code", message: `must be at most ${MAX_CODE_BYTES} bytes of UTF-8; it has ${bytes}` }];
  return code.isWellFormed() ? [] : [{ path: "code", message: "must be well-formed Unicode (it has half of a surrogate pair)" }];
}

function checkEnvironment(environment: Readonly<Record<string, unknown>>): Problem[] {
  const problems: Problem[] = [];
  const entries = Object.entries(environment);
  if (entries.length > MAX_ENVIRONMENT_ENTRIES) {
    problems.push({ path: "environment", message: `must have at most ${MAX_ENVIRONMENT_ENTRIES} entries; it has ${entries.length}` });
  }
  const bytes = countEnvironmentBytes(environment);
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    problems.push({ path: "environment", message: `must be at most ${MAX_ENVIRONMENT_BYTES} bytes together; it has ${bytes}` });
  }
  for (const [name, value] of entries) {
    const message = checkEnvironmentName(name) ?? (typeof value === "string" ? checkEnvironmentValue(value) : undefined);
    if (message !== undefined) problems.push({ path: formatPath(["environment", name]), message });
  }
  return problems;
}
