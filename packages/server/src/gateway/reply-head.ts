import { validateHeaderName, validateHeaderValue } from "node:http";
import { KsError } from "@kube-serverless/contracts";
import type { BodyKind, ResponseHead } from "../instances/port.ts";
import type { Call } from "../dispatch/call.ts";

/** The platform frames messages itself. */
const DROPPED = new Set(["content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"]);
const MAX_HEAD_BYTES = 32 * 1024;

const CONTENT_TYPES: Record<BodyKind, string | undefined> = {
  json: "application/json",
  text: "text/plain; charset=utf-8",
  binary: "application/octet-stream",
  none: undefined,
};

/** Names that only the platform sets on answers. */
function isOurs(name: string): boolean {
  return name === "x-request-id" || name === "x-cold-start" || name.startsWith("x-function-");
}

/**
 * The function's headers without what is ours.
 * @throws KsError `FUNCTION_ERROR` naming what HTTP cannot carry.
 */
export function filterFunctionHeaders(headers: readonly string[]): string[] {
  const kept: string[] = [];
  let bytes = 0;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    checkHeader(name, value);
    const lower = name.toLowerCase();
    if (DROPPED.has(lower) || isOurs(lower)) continue;
    bytes += name.length + value.length + 4;
    kept.push(name, value);
  }
  if (bytes > MAX_HEAD_BYTES) throw invalid(`its headers take ${bytes} bytes, ${MAX_HEAD_BYTES} are allowed`);
  return kept;
}

function checkHeader(name: string, value: string): void {
  try {
    validateHeaderName(name);
  } catch {
    throw invalid(`the header name ${JSON.stringify(name.slice(0, 100))} is not one`);
  }
  try {
    validateHeaderValue(name, value);
  } catch {
    throw invalid(`the value of the header ${name} has characters that HTTP cannot carry: ${JSON.stringify(value.slice(0, 100))}`);
  }
}

function invalid(why: string): KsError {
  const message = `Internal server error: the function's response cannot be sent: ${why}`;
  return new KsError("FUNCTION_ERROR", { message, details: { type: "InvalidResponse" } });
}

export function hasHeader(headers: readonly string[], lowerCase: string): boolean {
  for (let i = 0; i < headers.length; i += 2) if (headers[i]!.toLowerCase() === lowerCase) return true;
  return false;
}

/** Content type for a body whose function named none. */
export function defaultContentType(kind: BodyKind): string | undefined {
  return CONTENT_TYPES[kind];
}

/** hot: the headers that every call's answer has, appended to `headers`. */
export function appendCallHeaders(headers: string[], call: Call): void {
  const { times } = call;
  headers.push(
    "X-Function-Duration",
    (call.durationMs / 1000).toFixed(6),
    "X-Cold-Start",
    times.cold ? "true" : "false",
    "X-Request-Id",
    call.head.id,
    "X-Function-Revision",
    String(times.revision),
    "Server-Timing",
    serverTiming(call),
  );
  call.admission?.appendHeaders(headers);
}

/** https://www.w3.org/TR/server-timing/ — where the time went, in milliseconds. */
function serverTiming(call: Call): string {
  const { times } = call;
  const queueMs = times.sentAtMs === 0 ? 0 : times.sentAtMs - times.arrivedAtMs;
  const handler = `queue;dur=${queueMs.toFixed(2)}, handler;dur=${call.durationMs.toFixed(2)}`;
  if (!times.cold) return handler;
  const pool = times.startMs === 0 ? "" : ';desc="no waiting replica"';
  const compiled = times.compileMs === 0 ? "" : `, compile;dur=${times.compileMs.toFixed(2)};desc="compiled"`;
  return `${handler}, start;dur=${times.startMs.toFixed(2)}${pool}, load;dur=${times.loadMs.toFixed(2)}${compiled}`;
}

/** 204, 205 and 304 have no body (RFC 9110, 15). */
export function allowsBody(head: ResponseHead): boolean {
  return head.status !== 204 && head.status !== 205 && head.status !== 304;
}
