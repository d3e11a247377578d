import { KsError } from "@kube-serverless/contracts";
import { parseMeta, ProtocolError } from "../protocol/frames.ts";
import type { BodyKind, ResponseHead } from "./port.ts";

const MAX_TEXT = 16 * 1024;
const NO_HEADERS: readonly string[] = [];

/** `meta` of a response head. @throws ProtocolError */
export function parseResponseMeta(status: number, meta: Buffer): ResponseHead {
  return readResponseHead(status, parseMeta(meta), meta);
}

/** The same of fields that are parsed already. @throws ProtocolError */
export function readResponseHead(status: number, { kind, headers, durationMs }: Record<string, unknown>, meta: Buffer): ResponseHead {
  if (kind !== "json" && kind !== "text" && kind !== "binary" && kind !== "none") throw new ProtocolError("a head without a body kind");
  return { status, kind: kind satisfies BodyKind, headers: parseHeaderList(headers), durationMs: parseDuration(durationMs), meta };
}

function parseHeaderList(headers: unknown): readonly string[] {
  if (headers === undefined) return NO_HEADERS;
  if (!Array.isArray(headers) || headers.length % 2 !== 0) throw new ProtocolError("headers are not a flat list of pairs");
  for (const item of headers) if (typeof item !== "string") throw new ProtocolError("a header that is not a string");
  return headers as string[];
}

function parseDuration(durationMs: unknown): number {
  return typeof durationMs === "number" && Number.isFinite(durationMs) && durationMs >= 0 ? durationMs : 0;
}

function text(value: unknown, fallback: string): string {
  return typeof value === "string" ? value.slice(0, MAX_TEXT) : fallback;
}

/** `meta` of ERROR: the handler threw, or could not be given its event. */
export function parseErrorMeta(meta: Buffer): KsError {
  const fields = parseMeta(meta);
  const type = text(fields["type"], "Error");
  // Some errors have no text of their own, such as Python's MemoryError.
  const message = text(fields["message"], "") || type;
  if (fields["code"] === "INVALID_REQUEST") return new KsError("INVALID_REQUEST");
  if (fields["code"] === "RESPONSE_TOO_LARGE") return new KsError("RESPONSE_TOO_LARGE", { message });
  const stack = fields["stack"];
  const details: Record<string, unknown> = { type, durationMs: parseDuration(fields["durationMs"]) };
  if (typeof stack === "string") details["stack"] = stack.slice(0, MAX_TEXT);
  return new KsError("FUNCTION_ERROR", { message: `Internal server error: ${message}`, details });
}

/** `meta` of ABORT: a response that has begun cannot be finished. */
export function parseAbortMeta(meta: Buffer): KsError {
  const message = String(parseMeta(meta)["message"]);
  return new KsError("FUNCTION_ERROR", { message: `Internal server error: the response stream failed: ${message}` });
}

/** `meta` of FAILED: the code could not be loaded. */
export function parseFailure(meta: Buffer): KsError {
  const fields = parseMeta(meta);
  const reason = text(fields["reason"], "LoadError").slice(0, 64);
  const message = text(fields["message"], "LoadError: unknown");
  return new KsError("FUNCTION_FAILED", { message: `The function could not be loaded: ${message}`, details: { reason, message } });
}
