interface ErrorEntry {
  status: number;
  /** The documented one where there is one; a thrown error may say more. */
  message: string;
  kind: "user" | "function" | "system";
  /** When it comes and what to do; for the reference. */
  help: string;
}

/** Every error a user can meet, and whose fault it is. */
export const ERRORS = {
  INVALID_REQUEST: {
    status: 400,
    message: "Invalid request body",
    kind: "user",
    help: "The body is no JSON, or not what the route takes. `details` lists every problem as `{path, message}`.",
  },
  BAD_REQUEST: {
    status: 400,
    message: "Bad request",
    kind: "user",
    help: "The path, the query or a header is malformed. The message says which.",
  },
  UNAUTHENTICATED: {
    status: 401,
    message: "Authentication required",
    kind: "user",
    help: "Authentication is on and the request carries none that is known.",
  },
  FORBIDDEN: {
    status: 403,
    message: "Forbidden",
    kind: "user",
    help: "Whoever asks may not do this, or a web page of another origin or an unknown `Host` asks. See `--allowed-origins` and `--allowed-hosts`.",
  },
  FUNCTION_NOT_FOUND: {
    status: 404,
    message: "Function not found",
    kind: "user",
    help: "No function has this name. `GET /api/v1/functions` lists those that exist.",
  },
  ROUTE_NOT_FOUND: {
    status: 404,
    message: "Not found",
    kind: "user",
    help: "Nothing answers at this path: no route of the API, no HTTP trigger.",
  },
  QUEUE_NOT_FOUND: {
    status: 404,
    message: "Queue not found",
    kind: "user",
    help: "Neither a queue trigger nor the broker knows this queue. Deploy a function with a queue trigger first.",
  },
  KEY_NOT_FOUND: {
    status: 404,
    message: "API key not found",
    kind: "user",
    help: "No API key has this id. `GET /api/v1/keys` lists those that exist.",
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    message: "Method not allowed",
    kind: "user",
    help: "The path takes other methods; `Allow` names them.",
  },
  REQUEST_TIMEOUT: {
    status: 408,
    message: "The request took too long to arrive",
    kind: "user",
    help: "The head took longer than 10 s, or the body made no progress for 60 s.",
  },
  FUNCTION_EXISTS: {
    status: 409,
    message: "Function already exists",
    kind: "user",
    help: "Another function has the name, or one that is still being deleted (`details.state`). Update it with `PUT`, or wait.",
  },
  ROUTE_CONFLICT: {
    status: 409,
    message: "Path is taken by another function",
    kind: "user",
    help: "A trigger's path belongs to another function, which `details` names. Choose another path, or other methods.",
  },
  PRECONDITION_FAILED: {
    status: 412,
    message: "The function has changed since it was read",
    kind: "user",
    help: "`If-Match` names an older generation. Read the function again, apply the change to that, and retry.",
  },
  BODY_TOO_LARGE: {
    status: 413,
    message: "Request body too large",
    kind: "user",
    help: "The body is over the limit: 8 MiB for control routes, 6 MiB for calls and messages. `details` has limit and size.",
  },
  UNSUPPORTED_MEDIA_TYPE: {
    status: 415,
    message: "Unsupported media type",
    kind: "user",
    help: "Control routes take `Content-Type: application/json` in UTF-8, without `Content-Encoding`.",
  },
  EXPECTATION_FAILED: {
    status: 417,
    message: "Expectation failed",
    kind: "user",
    help: "`Expect` names something other than `100-continue`.",
  },
  RATE_LIMITED: {
    status: 429,
    message: "Rate limit exceeded",
    kind: "user",
    help: "More calls than a limit allows. `Retry-After` says when to come back.",
  },
  OVERLOADED: {
    status: 429,
    message: "Too many calls are waiting for this function",
    kind: "user",
    help: "The queue in front of the function is full. Retry later, raise `maxReplicas` or `concurrency`, or see `--max-queued-calls`.",
  },
  BUDGET_EXCEEDED: {
    status: 429,
    message: "Budget exceeded",
    kind: "user",
    help: "A budget is used up; the message says which and until when.",
  },
  HEADERS_TOO_LARGE: { status: 431, message: "Request headers too large", kind: "user", help: "The request's head is over 32 KiB." },
  CLIENT_CLOSED: {
    status: 499,
    message: "The caller went away",
    kind: "user",
    help: "Never sent: it counts calls whose caller left before the answer.",
  },
  FUNCTION_ERROR: {
    status: 500,
    message: "Internal server error",
    kind: "function",
    help: "The handler threw, or returned what HTTP cannot carry. On `/invoke` `details` has type and stack; the function's log has them always.",
  },
  INTERNAL: {
    status: 500,
    message: "Internal server error: a defect of the platform",
    kind: "system",
    help: "A defect of the platform. The server's log has the cause under the request's id: please report it.",
  },
  FUNCTION_CRASHED: {
    status: 502,
    message: "The function's process ended",
    kind: "function",
    help: "The process ended during the call, for example by an error that nobody caught or by `exit`. The function's log says why.",
  },
  FUNCTION_OUT_OF_MEMORY: {
    status: 502,
    message: "The function ran out of memory",
    kind: "function",
    help: "The replica needed more than `memory`. Raise it, or use less.",
  },
  FUNCTION_FAILED: {
    status: 502,
    message: "The function could not be loaded",
    kind: "function",
    help: "The code could not be loaded and no older version serves. `details` and `status.message` of the function say why.",
  },
  RESPONSE_TOO_LARGE: {
    status: 502,
    message: "The function's response is too large",
    kind: "function",
    help: "The response is over 6 MiB and was not streamed. Stream it through a trigger, or return less.",
  },
  DRAINING: {
    status: 503,
    message: "The server is shutting down",
    kind: "system",
    help: "The server shuts down. Retry; another instance, or the next start, will answer.",
  },
  NO_CAPACITY: {
    status: 503,
    message: "No capacity",
    kind: "system",
    help: "No place in a replica came free within `--queue-timeout`, the caps of the whole machine are reached, or the runtime does not start; the message says which. `Retry-After` says when to retry.",
  },
  STORE_UNAVAILABLE: {
    status: 503,
    message: "The store is unavailable",
    kind: "system",
    help: "The store, the broker or their disk is away or full, so that nothing new can be kept. Calls go on; it recovers without a restart.",
  },
  TIMEOUT: {
    status: 504,
    message: "The function did not answer in time",
    kind: "function",
    help: "The handler took longer than the function's `timeout`. Raise it, or do less in one call.",
  },
} as const satisfies Record<string, ErrorEntry>;

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
