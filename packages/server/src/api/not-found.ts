import { KsError, splitPath } from "@kube-serverless/contracts";

/** Methods by the path they belong to, `:name` standing for any segment. */
export type MethodsByPath = ReadonlyMap<string, ReadonlySet<string>>;

/** What to answer to a path that is none. */
export function badPath(problem: string): KsError {
  return new KsError("BAD_REQUEST", { message: `Bad request: the path ${problem}` });
}

/** What to answer where no route matched: 405 with `Allow`, or 404. */
export function explainMiss(method: string, path: string, methodsByPath: MethodsByPath): KsError {
  const split = splitPath(path);
  if ("problem" in split) return badPath(split.problem);
  for (const [pattern, methods] of methodsByPath) {
    if (!matches(pattern, split.segments)) continue;
    const allow = [...methods].sort().join(", ");
    return new KsError("METHOD_NOT_ALLOWED", {
      message: `Method not allowed: ${method}; this path takes ${allow}`,
      headers: { Allow: allow },
    });
  }
  return new KsError("ROUTE_NOT_FOUND", { message: "Not found", details: { method, path, hint: "see /docs" } });
}

function matches(pattern: string, segments: readonly string[]): boolean {
  const parts = pattern === "/" ? [] : pattern.slice(1).split("/");
  return parts.length === segments.length && parts.every((part, index) => matchesPart(part, segments[index] ?? ""));
}

function matchesPart(part: string, segment: string): boolean {
  return part.startsWith(":") ? segment !== "" : part === segment;
}
