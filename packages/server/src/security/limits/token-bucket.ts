import type { Rate } from "./rate.ts";

/**
 * A token bucket in one number, the moment at which it will be full: full is the same as never used, so it can be forgotten then.
 * Times are monotonic milliseconds.
 */
export class TokenBucket {
  #rate: Rate;
  #fullAtMs = Number.NEGATIVE_INFINITY;

  constructor(rate: Rate) {
    this.#rate = rate;
  }

  get rate(): Rate {
    return this.#rate;
  }

  /** The limit has changed: what was taken stays taken, but never more than the new bucket holds. */
  setRate(rate: Rate): void {
    this.#rate = rate;
  }

  /** hot: 0 when a call may be taken, else how long until then. */
  waitMs(nowMs: number): number {
    const { intervalMs, fillMs, roundingMs } = this.#rate;
    const missingMs = this.#missingMs(nowMs);
    const waitMs = missingMs + intervalMs - fillMs;
    return waitMs > roundingMs ? waitMs : 0;
  }

  /** hot: takes one call, which `waitMs` has allowed at this moment. */
  take(nowMs: number): void {
    this.#fullAtMs = nowMs + this.#missingMs(nowMs) + this.#rate.intervalMs;
  }

  /** Whole calls that may be taken now. */
  available(nowMs: number): number {
    const { intervalMs, fillMs, roundingMs } = this.#rate;
    return Math.floor((fillMs - this.#missingMs(nowMs) + roundingMs) / intervalMs);
  }

  isFull(nowMs: number): boolean {
    return this.#fullAtMs <= nowMs;
  }

  /** Time that is missing to a full bucket. More than all of it, after a change of the rate, is cut: so nothing keeps a bucket shut. */
  #missingMs(nowMs: number): number {
    const missingMs = this.#fullAtMs - nowMs;
    if (missingMs <= 0) return 0;
    const { fillMs } = this.#rate;
    if (missingMs <= fillMs) return missingMs;
    this.#fullAtMs = nowMs + fillMs;
    return fillMs;
  }
}
