import { KsError } from "@kube-serverless/contracts";

/** The platform's own part of a start failed before any code of the function was there: its calls wait on, its deploy is tried again. */
export class RuntimeNotStarted extends KsError {
  constructor(runtime: string, how: string, cause: unknown) {
    super("NO_CAPACITY", {
      message: `No capacity: the runtime ${runtime} did not start: ${how}. It is tried again; the machine may be too busy, or the runtime's program broken`,
      retryAfterMs: 1000,
      details: { reason: "RuntimeNotStarted", runtime },
      cause,
    });
  }
}
