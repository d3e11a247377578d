import { KsError } from "@kube-serverless/contracts";

const MAX_LIMIT = 1000;

/** A part of a list that is sorted by name. */
export interface Page<T> {
  entries: readonly T[];
  /** `Link` header to the next part; undefined on the last. */
  link: string | undefined;
}

/** Cuts a list by `limit` and `cursor`; the cursor is the last name seen, so that it survives what comes and goes meanwhile. */
export function takePage<T>(all: readonly T[], nameOf: (entry: T) => string, path: string, query: URLSearchParams): Page<T> {
  const limit = parseLimit(query.get("limit"));
  const after = parseCursor(query.get("cursor"));
  const rest = after === undefined ? all : all.filter((entry) => nameOf(entry) > after);
  const entries = limit === undefined ? rest : rest.slice(0, limit);
  const last = entries.at(-1);
  if (limit === undefined || last === undefined || entries.length === rest.length) return { entries, link: undefined };
  const cursor = Buffer.from(nameOf(last)).toString("base64url");
  return { entries, link: `<${path}?limit=${limit}&cursor=${cursor}>; rel="next"` };
}

/** @throws KsError `BAD_REQUEST` */
export function parseLimit(text: string | null): number | undefined {
  if (text === null) return undefined;
  const limit = Number(text);
  if (/^\d{1,4}$/.test(text) && limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new KsError("BAD_REQUEST", { message: `Bad request: limit must be a whole number from 1 to ${MAX_LIMIT}` });
}

function parseCursor(text: string | null): string | undefined {
  if (text === null) return undefined;
  const name = Buffer.from(text, "base64url").toString();
  if (/^[a-z0-9-]{1,63}$/.test(name)) return name;
  throw new KsError("BAD_REQUEST", { message: "Bad request: cursor must be one that a Link header gave" });
}
