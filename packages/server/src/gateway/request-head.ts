import type { IncomingMessage } from "node:http";
import { KsError } from "@kube-serverless/contracts";
import { type Credentials, isCredential, NO_CREDENTIALS } from "../security/authentication/credentials.ts";

/** A request's headers as an event has them, and what the gateway itself looks at. */
export interface RequestHead {
  /** Lower-case names, duplicates joined by `, `, cookies by `; `. Without `credentials`. */
  headers: Record<string, string>;
  /**
   * What may prove the caller, those sent twice joined by `, `; every door takes them from here: where each took another of two, a proxy in
   * front that looks at one would let the other pass. `passCredentials` adds to the headers what the function may see.
   */
  credentials: Credentials;
  /** Undefined when there is none. */
  host: string | undefined;
}

const MAX_KNOWN_NAMES = 1000;
/** Lower-case form of header names as clients write them. */
const lowerCaseNames = new Map<string, string>();

function lowerCaseName(name: string): string {
  let lower = lowerCaseNames.get(name);
  if (lower === undefined) {
    lower = name.toLowerCase();
    if (lowerCaseNames.size < MAX_KNOWN_NAMES) lowerCaseNames.set(name, lower);
  }
  return lower;
}

/** hot @throws KsError `BAD_REQUEST` for another version than HTTP/1, more than one Host (RFC 9112, 3.2), and none in HTTP/1.1. */
export function readRequestHead(req: IncomingMessage): RequestHead {
  // The parser takes HTTP/0.9, a request line without a version, and 2.0.
  if (req.httpVersionMajor !== 1) throw new KsError("BAD_REQUEST", { message: "Bad request: this server speaks HTTP/1.1" });
  const raw = req.rawHeaders;
  const headers: Record<string, string> = {};
  let credentials: Record<string, string> | undefined;
  let hosts = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = lowerCaseName(raw[i]!);
    const value = raw[i + 1]!;
    if (name === "host") hosts++;
    // Taking a field out of an object again would make all that is done with it slower, up to its JSON.
    const target = isCredential(name) ? (credentials ??= {}) : headers;
    const before = Object.hasOwn(target, name) ? target[name] : undefined;
    if (before !== undefined) target[name] = name === "cookie" ? `${before}; ${value}` : `${before}, ${value}`;
    else if (name === "__proto__") Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true });
    else target[name] = value;
  }
  if (hosts > 1) throw new KsError("BAD_REQUEST", { message: "Bad request: more than one Host header" });
  if (hosts === 0 && req.httpVersionMinor >= 1) throw new KsError("BAD_REQUEST", { message: "Bad request: HTTP/1.1 needs a Host header" });
  checkCoding(headers["transfer-encoding"]);
  return { headers, host: headers["host"], credentials: credentials ?? NO_CREDENTIALS };
}

function checkCoding(coding: string | undefined): void {
  if (coding === undefined || coding.trim().toLowerCase() === "chunked") return;
  throw new KsError("BAD_REQUEST", { message: "Bad request: the only transfer coding taken is chunked (RFC 9112, 6.1)" });
}

/** A query as URLSearchParams reads it; a repeated key gives an array. */
export function parseQuery(query: string): Record<string, string | string[]> {
  const result: Record<string, string | string[]> = {};
  if (query === "") return result;
  for (const [key, value] of new URLSearchParams(query)) {
    const before = Object.hasOwn(result, key) ? result[key] : undefined;
    const next = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
    if (key === "__proto__") Object.defineProperty(result, key, { value: next, enumerable: true, configurable: true, writable: true });
    else result[key] = next;
  }
  return result;
}
