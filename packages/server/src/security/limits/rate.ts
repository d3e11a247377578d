import type { RateLimit } from "@kube-serverless/contracts";

/** A rate limit as the bucket reckons with it. */
export interface Rate {
  /** Time in which one call's worth comes back. */
  readonly intervalMs: number;
  readonly burst: number;
  /** Time in which an empty bucket fills. */
  readonly fillMs: number;
  /** What the sums of doubles may be wrong by: a call that comes exactly when its worth is back must not be refused for the last bits. */
  readonly roundingMs: number;
}

/** @returns the rate; without `burst`, what one second allows, and at least one call. */
export function compileRate({ requestsPerSecond, burst = Math.max(1, Math.ceil(requestsPerSecond)) }: RateLimit): Rate {
  const intervalMs = 1000 / requestsPerSecond;
  const fillMs = intervalMs * burst;
  return { intervalMs, burst, fillMs, roundingMs: 1e-6 + fillMs * 1e-12 };
}
