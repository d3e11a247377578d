import type { z } from "zod";
import { KsError } from "./error.ts";
import { boundProblems, describeIssues } from "./problem.ts";

/** Checks a body against a schema of an object. @throws KsError `INVALID_REQUEST` whose details list every problem */
export function parseBody<T extends z.ZodObject>(schema: T, input: unknown): z.infer<T> {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new KsError("INVALID_REQUEST", { details: [{ path: "", message: "must be a JSON object" }] });
  }
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new KsError("INVALID_REQUEST", { details: boundProblems(describeIssues(parsed.error.issues, Object.keys(schema.shape))) });
}
