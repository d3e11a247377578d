import { ERRORS, type ErrorCode, KsError } from "@kube-serverless/contracts/error";

/** One operation asked for, `module.operation`. */
export interface Request {
  id: number;
  operation: string;
  args: unknown;
}

export type Reply = { id: number; value: unknown } | { id: number; error: SentError };

export type ToWorker = { kind: "requests"; requests: Request[] } | { kind: "stop" };

export type FromWorker =
  | { kind: "ready" }
  | { kind: "writable"; writable: boolean }
  | { kind: "replies"; replies: Reply[] }
  /** The store could not be opened, or is broken: nothing more will be answered. */
  | { kind: "failed"; error: SentError };

/** An error as it crosses threads, which would drop its class and code. */
export interface SentError {
  code?: ErrorCode;
  message: string;
  details?: unknown;
  stack?: string;
}

export function packError(error: unknown): SentError {
  if (error instanceof KsError) {
    return { code: error.code, message: error.message, ...(error.details === undefined ? {} : { details: error.details }) };
  }
  if (error instanceof Error) return { message: error.message, ...(error.stack === undefined ? {} : { stack: error.stack }) };
  return { message: String(error) };
}

export function unpackError(sent: SentError): Error {
  if (sent.code !== undefined && sent.code in ERRORS) return new KsError(sent.code, { message: sent.message, details: sent.details });
  const error = new Error(sent.message);
  if (sent.stack !== undefined) error.stack = sent.stack;
  return error;
}
