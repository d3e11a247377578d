import type { z } from "zod";
import { findNearest } from "./nearest.ts";

/** One thing that is wrong with a request's body. */
export interface Problem {
  /** Where: `triggers[0].config.path`; empty for the body itself. */
  path: string;
  /** What, to be read after the path. */
  message: string;
}

/** More would only make the answer as large as the request. */
const MAX_PROBLEMS = 100;

export function boundProblems(problems: readonly Problem[]): readonly Problem[] {
  if (problems.length <= MAX_PROBLEMS) return problems;
  return [...problems.slice(0, MAX_PROBLEMS), { path: "", message: `has ${problems.length - MAX_PROBLEMS} more problems` }];
}

/** In the order of the body's fields and lists, so that who mends them goes from top to bottom; fields that it lacks come last. */
export function sortProblems(problems: readonly Problem[], body: Readonly<Record<string, unknown>>): Problem[] {
  const fields = Object.keys(body);
  const placeOf = ({ path }: Problem): [field: number, index: number] => {
    const [, field = "", index = "-1"] = /^([^.[]*)(?:\[(\d+)\])?/.exec(path) ?? [];
    const place = fields.indexOf(field);
    return [place < 0 ? fields.length : place, Number(index)];
  };
  const placed = problems.map((problem) => ({ problem, place: placeOf(problem) }));
  placed.sort((a, b) => a.place[0] - b.place[0] || a.place[1] - b.place[1]);
  return placed.map(({ problem }) => problem);
}

/** `triggers[0].config.path`; names that are no identifiers in brackets and quotes. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (/^[A-Za-z_$][A-Za-z0-9_$]*$/.test(String(part))) text += text === "" ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part).slice(0, 200))}]`;
  }
  return text;
}

/** What zod found, in words for whoever wrote the body. `knownFields` are those of the object at the top. */
export function describeIssues(issues: readonly z.core.$ZodIssue[], knownFields: readonly string[]): Problem[] {
  return issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [{ path: formatPath(issue.path), message: describeIssue(issue) }];
    return issue.keys.map((key) => ({
      path: formatPath([...issue.path, key]),
      message: describeUnknownField(key, issue.path.length === 0 ? knownFields : []),
    }));
  });
}

function describeUnknownField(key: string, knownFields: readonly string[]): string {
  const nearest = key.length > 64 ? undefined : findNearest(key, knownFields);
  return nearest === undefined ? "is not a known field" : `is not a known field; did you mean '${nearest}'?`;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.message.endsWith("received undefined") ? "is required" : `must be ${describeType(issue.expected)}`;
    case "too_small":
      return describeBound("at least", Number(issue.minimum), issue.origin);
    case "too_big":
      return describeBound("at most", Number(issue.maximum), issue.origin);
    case "invalid_value":
      return `must be one of ${issue.values.map(String).join(", ")}`;
    default:
      return issue.message;
  }
}

function describeType(expected: string): string {
  if (expected === "int") return "a whole number";
  if (expected === "record" || expected === "object") return "an object";
  return expected === "array" ? "a list" : `a ${expected}`;
}

function describeBound(bound: "at least" | "at most", limit: number, origin: string): string {
  if (origin === "string") return limit === 1 && bound === "at least" ? "must not be empty" : `must have ${bound} ${limit} characters`;
  if (origin === "array") return `must have ${bound} ${limit} entries`;
  return `must be ${bound} ${limit}`;
}
