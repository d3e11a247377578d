/** Every error a user can meet: its status, its message, and whose fault it is. The documented messages stand first. */
export const ERRORS = {
  INVALID_REQUEST: { status: 400, message: "Invalid request body", kind: "user" },
  BAD_REQUEST: { status: 400, message: "Bad request", kind: "user" },
  UNAUTHENTICATED: { status: 401, message: "Authentication required", kind: "user" },
  FORBIDDEN: { status: 403, message: "Forbidden", kind: "user" },
  FUNCTION_NOT_FOUND: { status: 404, message: "Function not found", kind: "user" },
  ROUTE_NOT_FOUND: { status: 404, message: "Not found", kind: "user" },
  QUEUE_NOT_FOUND: { status: 404, message: "Queue not found", kind: "user" },
  METHOD_NOT_ALLOWED: { status: 405, message: "Method not allowed", kind: "user" },
  REQUEST_TIMEOUT: { status: 408, message: "The request took too long to arrive", kind: "user" },
  FUNCTION_EXISTS: { status: 409, message: "Function already exists", kind: "user" },
  ROUTE_CONFLICT: { status: 409, message: "Path is taken by another function", kind: "user" },
  PRECONDITION_FAILED: { status: 412, message: "The function has changed since it was read", kind: "user" },
  BODY_TOO_LARGE: { status: 413, message: "Request body too large", kind: "user" },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, message: "Unsupported media type", kind: "user" },
  EXPECTATION_FAILED: { status: 417, message: "Expectation failed", kind: "user" },
  RATE_LIMITED: { status: 429, message: "Rate limit exceeded", kind: "user" },
  OVERLOADED: { status: 429, message: "Too many calls are waiting for this function", kind: "user" },
  BUDGET_EXCEEDED: { status: 429, message: "Budget exceeded", kind: "user" },
  HEADERS_TOO_LARGE: { status: 431, message: "Request headers too large", kind: "user" },
  CLIENT_CLOSED: { status: 499, message: "The caller went away", kind: "user" },
  FUNCTION_ERROR: { status: 500, message: "Internal server error", kind: "function" },
  INTERNAL: { status: 500, message: "Internal server error: a defect of the platform", kind: "system" },
  FUNCTION_CRASHED: { status: 502, message: "The function's process ended", kind: "function" },
  FUNCTION_OUT_OF_MEMORY: { status: 502, message: "The function ran out of memory", kind: "function" },
  FUNCTION_FAILED: { status: 502, message: "The function could not be loaded", kind: "function" },
  RESPONSE_TOO_LARGE: { status: 502, message: "The function's response is too large", kind: "function" },
  DRAINING: { status: 503, message: "The server is shutting down", kind: "system" },
  NO_CAPACITY: { status: 503, message: "No capacity", kind: "system" },
  STORE_UNAVAILABLE: { status: 503, message: "The store is unavailable", kind: "system" },
  TIMEOUT: { status: 504, message: "The function did not answer in time", kind: "function" },
} as const satisfies Record<string, { status: number; message: string; kind: "user" | "function" | "system" }>;

export type ErrorCode = keyof typeof ERRORS;

export interface KsErrorOptions {
  /** Replaces the catalogue's message; says what happened and what to do. */
  message?: string;
  details?: unknown;
  /** Sent as `Retry-After`, rounded up to seconds. */
  retryAfterMs?: number;
  /** Further response headers, such as `Allow`. */
  headers?: Readonly<Record<string, string>>;
  cause?: unknown;
}

/** The one error class: a code of the catalogue, and what is particular to this case. */
export class KsError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly kind: "user" | "function" | "system";
  readonly details: unknown;
  readonly retryAfterMs: number | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(code: ErrorCode, options: KsErrorOptions = {}) {
    super(options.message ?? ERRORS[code].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "KsError";
    this.code = code;
    this.status = ERRORS[code].status;
    this.kind = ERRORS[code].kind;
    this.details = options.details;
    this.retryAfterMs = options.retryAfterMs;
    this.headers = options.headers;
  }
}

/** The body of every error answer. */
export interface ErrorBody {
  error: string;
  code: ErrorCode;
  requestId: string;
  details?: unknown;
}

export function buildErrorBody(error: KsError, requestId: string): ErrorBody {
  const body: ErrorBody = { error: error.message, code: error.code, requestId };
  if (error.details !== undefined) body.details = error.details;
  return body;
}
