/** What the API server answered instead of what was asked for, or that it did not answer at all (`status` 0). */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  /** The API's own word, such as `AlreadyExists`, `Conflict`, `Invalid`, `Expired`. */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  /** The API's Status object, where there was one. */
  readonly body: StatusBody | undefined;

  constructor(fields: { status: number; message: string; body?: StatusBody; retryAfterMs?: number; cause?: unknown }) {
    super(fields.message, { cause: fields.cause });
    this.status = fields.status;
    this.body = fields.body;
    this.reason = fields.body?.reason ?? "";
    this.retryAfterMs = fields.retryAfterMs;
  }
}

export interface StatusBody {
  reason?: string;
  message?: string;
  code?: number;
  details?: { retryAfterSeconds?: number; causes?: { reason?: string; message?: string; field?: string }[] };
}

/** The API server cannot be reached, or is not able to answer now: the same may go well later. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 0 || error.status === 429 || error.status >= 500);
}

export function hasStatus(error: unknown, status: number): error is ApiError {
  return error instanceof ApiError && error.status === status;
}
