import type { IncomingMessage, ServerResponse } from "node:http";
import { buildErrorBody, KsError } from "@kube-serverless/contracts";
import { discardRest } from "./read-body.ts";

/** The same KsError, or `INTERNAL` with the cause kept for the log alone. */
export function toKsError(error: unknown): KsError {
  return error instanceof KsError ? error : new KsError("INTERNAL", { cause: error });
}

/** Headers of an error answer beside its content. */
export function errorHeaders(error: KsError): Record<string, string> {
  const headers: Record<string, string> = { ...error.headers };
  if (error.retryAfterMs !== undefined) headers["Retry-After"] = String(Math.max(1, Math.ceil(error.retryAfterMs / 1000)));
  return headers;
}

/** Answers with the error as JSON; what is left of the request is read and thrown away. */
export function sendError(
  req: IncomingMessage,
  res: ServerResponse,
  error: KsError,
  requestId: string,
  extra: readonly string[] = [],
): void {
  if (error.code === "CLIENT_CLOSED" || res.headersSent) {
    res.destroy();
    return;
  }
  const body = Buffer.from(JSON.stringify(buildErrorBody(error, requestId)));
  const headers = [
    "Content-Type",
    "application/json; charset=utf-8",
    "Content-Length",
    String(body.length),
    "X-Request-Id",
    requestId,
    "Cache-Control",
    "no-store",
    // What was asked for is in it: no browser may take it for a page.
    "X-Content-Type-Options",
    "nosniff",
    ...extra,
  ];
  for (const [name, value] of Object.entries(errorHeaders(error))) headers.push(name, value);
  if (error.code === "DRAINING" || error.code === "REQUEST_TIMEOUT") headers.push("Connection", "close");
  res.writeHead(error.status, headers);
  res.end(body);
  discardRest(req);
}
