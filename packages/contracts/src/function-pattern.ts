import { z } from "zod";

/** Chooses functions by name: a name, or one with `*` for any characters. */
export const FunctionPattern = z
  .string()
  .regex(/^[a-z0-9*-]{1,50}$/, "must be a function's name, in which * stands for any characters")
  .meta({ description: "A function's name, in which `*` stands for any characters", examples: ["team-a-*"] });

/** One pattern or a list of them, always a list once it is parsed. */
export const FunctionPatterns = z
  .union([FunctionPattern, z.array(FunctionPattern).min(1).max(100)])
  .transform((patterns) => (typeof patterns === "string" ? [patterns] : patterns));

/** What a grant without patterns is for. */
export const ALL_FUNCTIONS: readonly string[] = ["*"];

/** hot: whether a pattern covers a name; it only ever goes back to the last `*`, so no pattern of 50 characters makes it slow. */
export function matchesPattern(pattern: string, name: string): boolean {
  let at = 0;
  let inName = 0;
  let star = -1;
  let resumeAt = 0;
  while (inName < name.length) {
    if (pattern[at] === "*") {
      star = at++;
      resumeAt = inName;
    } else if (at < pattern.length && pattern[at] === name[inName]) {
      at++;
      inName++;
    } else if (star >= 0) {
      at = star + 1;
      inName = ++resumeAt;
    } else return false;
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}

/** hot: whether any of the patterns covers the name. */
export function matchesAnyPattern(patterns: readonly string[], name: string): boolean {
  for (const pattern of patterns) if (pattern === "*" || matchesPattern(pattern, name)) return true;
  return false;
}
