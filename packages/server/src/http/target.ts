import { KsError } from "@kube-serverless/contracts";

/** A request target (RFC 9112, 3.2), its parts still raw. */
export interface Target {
  /** Of the absolute form; it stands in for Host then. */
  authority: string | undefined;
  path: string;
  /** Without the question mark; empty when there is none. */
  query: string;
}

/** hot @throws KsError `BAD_REQUEST` for what is neither origin form nor absolute form. */
export function parseTarget(url: string): Target {
  if (url.charCodeAt(0) !== 47) return parseAbsolute(url);
  const mark = url.indexOf("?");
  return mark < 0
    ? { authority: undefined, path: url, query: "" }
    : { authority: undefined, path: url.slice(0, mark), query: url.slice(mark + 1) };
}

function parseAbsolute(url: string): Target {
  // Asterisk form: the server as a whole.
  if (url === "*") return { authority: undefined, path: url, query: "" };
  const match = /^https?:\/\/([^/?#@\s]+)(\/[^?]*)?(?:\?(.*))?$/is.exec(url);
  if (match === null)
    throw new KsError("BAD_REQUEST", { message: "Bad request: the request target is neither a path nor an absolute URL" });
  return { authority: match[1]!, path: match[2] ?? "/", query: match[3] ?? "" };
}
