import { RESERVED_SEGMENTS } from "./trigger.ts";

export type PathSegment = { kind: "literal"; value: string } | { kind: "parameter"; name: string };

/** An HTTP trigger's path, taken apart. */
export interface PathPattern {
  segments: readonly PathSegment[];
  /** Ends in `/*`: takes the rest, and the path without it. */
  wildcard: boolean;
  /** Equal for two patterns that match the same paths, whatever their parameters are called. */
  shape: string;
}

/** The path as it came, cut at `/` and each segment decoded once. The path `/` has no segment; `/a/` ends with an empty one. */
export type SplitPath = { segments: readonly string[] } | { problem: string };

/** Cuts and decodes the path of a request or a trigger (without a query). */
export function splitPath(path: string): SplitPath {
  if (!path.startsWith("/")) return { problem: "must begin with /" };
  if (path === "/") return { segments: [] };
  const segments: string[] = [];
  const raw = path.slice(1).split("/");
  for (const [index, piece] of raw.entries()) {
    if (piece === "" && index < raw.length - 1) return { problem: "must not have an empty segment (//)" };
    const decoded = decodeSegment(piece);
    if (decoded === undefined) return { problem: `has a bad percent encoding in '${piece}'` };
    if (decoded === "." || decoded === "..") return { problem: "must not have a segment . or .." };
    segments.push(decoded);
  }
  return { segments };
}

function decodeSegment(piece: string): string | undefined {
  if (!piece.includes("%")) return piece;
  try {
    return decodeURIComponent(piece);
  } catch {
    return undefined;
  }
}

export type ParsedPattern = { pattern: PathPattern } | { problem: string };

/** Reads the path of an HTTP trigger: literals, `:parameter` segments, and at the end perhaps `/*`. */
export function parsePathPattern(path: string): ParsedPattern {
  const split = splitPath(path);
  if ("problem" in split) return split;
  const wildcard = path.endsWith("/*");
  const raw = path === "/" ? [] : path.slice(1).split("/");
  if (wildcard) raw.pop();
  const segments: PathSegment[] = [];
  for (const [index, piece] of raw.entries()) {
    const parsed = parseSegment(piece, split.segments[index] ?? "");
    if ("problem" in parsed) return parsed;
    segments.push(parsed.segment);
  }
  const problem = findRepeatedParameter(segments) ?? findReserved(segments);
  return problem === undefined ? { pattern: { segments, wildcard, shape: buildShape(segments, wildcard) } } : { problem };
}

function parseSegment(piece: string, decoded: string): { segment: PathSegment } | { problem: string } {
  if (piece.startsWith(":")) return parseParameter(piece);
  if (piece.includes("*")) return { problem: "may have * only as its last segment (/*); write %2A for the character itself" };
  if (decoded.includes("/") || decoded.includes("\\")) return { problem: `has a slash within the segment '${piece}'` };
  // Control characters, and what ends a path in an address.
  if (/[\u0000-\u001f\u007f]/.test(decoded) || /[?#]/.test(piece) || !decoded.isWellFormed()) {
    return { problem: `has a character that no path may have in '${piece}'; encode ? as %3F and # as %23` };
  }
  return { segment: { kind: "literal", value: decoded } };
}

function parseParameter(piece: string): { segment: PathSegment } | { problem: string } {
  const name = piece.slice(1);
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && name !== "__proto__") return { segment: { kind: "parameter", name } };
  return {
    problem: `has '${piece}': a parameter is a whole segment, ':' and a name of letters, digits and _; write %3A for a colon itself`,
  };
}

function findRepeatedParameter(segments: readonly PathSegment[]): string | undefined {
  const seen = new Set<string>();
  for (const segment of segments) {
    if (segment.kind !== "parameter") continue;
    if (seen.has(segment.name)) return `has the parameter :${segment.name} twice`;
    seen.add(segment.name);
  }
  return undefined;
}

function findReserved(segments: readonly PathSegment[]): string | undefined {
  const first = segments[0];
  if (first?.kind !== "literal" || !(RESERVED_SEGMENTS as readonly string[]).includes(first.value)) return undefined;
  return `must not begin with /${first.value}, which is the platform's own (as are ${RESERVED_SEGMENTS.map((name) => `/${name}`).join(", ")})`;
}

function buildShape(segments: readonly PathSegment[], wildcard: boolean): string {
  const parts = segments.map((segment) => (segment.kind === "parameter" ? ":" : encodeLiteral(segment.value)));
  if (wildcard) parts.push("*");
  return `/${parts.join("/")}`;
}

/** Without the characters that stand for parameters and wildcards. */
function encodeLiteral(value: string): string {
  return encodeURIComponent(value).replaceAll("*", "%2A");
}

/** True when some method is taken by both; none given takes all. */
export function methodsOverlap(left: readonly string[] | undefined, right: readonly string[] | undefined): boolean {
  if (left === undefined || right === undefined) return true;
  return left.some((method) => right.includes(method));
}
