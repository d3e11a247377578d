/** What the last minute looked like, in calls at once (running and queued). */
export interface LoadSummary {
  /** Time-weighted mean over the stable window, or over the time since the first call if that is shorter. */
  stable: number;
  /** The same over the panic window. */
  panic: number;
  /** The highest one-second mean within the stable window. */
  peak: number;
}

export const STABLE_WINDOW_MS = 60_000;
export const PANIC_WINDOW_MS = 6_000;

const BUCKET_MS = 1_000;
const STABLE_BUCKETS = STABLE_WINDOW_MS / BUCKET_MS;
/** The second that runs, beside the whole ones. */
const RING_SIZE = STABLE_BUCKETS + 1;

/**
 * How many calls a function had at once over the last minute: per second the sum of calls times milliseconds.
 * It takes half a kilobyte and is made only while a function is active. Times must come from a clock that never goes back.
 */
export class ConcurrencyWindow {
  /** Calls × ms of each second; the second `n` is at `n % RING_SIZE`. */
  readonly #areas = new Float64Array(RING_SIZE);
  readonly #startMs: number;
  #calls = 0;
  #lastMs: number;

  constructor(nowMs: number) {
    this.#startMs = nowMs;
    this.#lastMs = nowMs;
  }

  /** Calls running and queued from now on. */
  record(calls: number, nowMs: number): void {
    // hot: twice a call; almost always the second has not changed.
    if (nowMs > this.#lastMs) this.#fill(nowMs);
    this.#calls = calls;
  }

  summarise(nowMs: number): LoadSummary {
    if (nowMs > this.#lastMs) this.#fill(nowMs);
    return { stable: this.#mean(STABLE_WINDOW_MS, nowMs), panic: this.#mean(PANIC_WINDOW_MS, nowMs), peak: this.#peak(nowMs) };
  }

  #fill(nowMs: number): void {
    // Seconds that the ring no longer holds need not be visited after a long silence.
    let fromMs = Math.max(this.#lastMs, (Math.floor(nowMs / BUCKET_MS) - RING_SIZE) * BUCKET_MS);
    while (fromMs < nowMs) {
      const second = Math.floor(fromMs / BUCKET_MS);
      const slot = second % RING_SIZE;
      // A second that begins takes the place of the one a minute ago.
      if (fromMs === second * BUCKET_MS) this.#areas[slot] = 0;
      const untilMs = Math.min(nowMs, (second + 1) * BUCKET_MS);
      this.#areas[slot]! += this.#calls * (untilMs - fromMs);
      fromMs = untilMs;
    }
    // The second that begins exactly now has had no turn in the loop.
    if (nowMs % BUCKET_MS === 0) this.#areas[(nowMs / BUCKET_MS) % RING_SIZE] = 0;
    this.#lastMs = nowMs;
  }

  #mean(windowMs: number, nowMs: number): number {
    const second = Math.floor(nowMs / BUCKET_MS);
    const oldest = second - windowMs / BUCKET_MS + 1;
    let area = 0;
    for (let each = Math.max(oldest, this.#firstSecond()); each <= second; each++) area += this.#areas[each % RING_SIZE]!;
    const sinceMs = Math.max(this.#startMs, oldest * BUCKET_MS);
    // Under a second of history a mean says little: one call of a moment ago is not yet a load of 1.
    return area / Math.max(BUCKET_MS, nowMs - sinceMs);
  }

  #peak(nowMs: number): number {
    const second = Math.floor(nowMs / BUCKET_MS);
    let peak = 0;
    for (let each = Math.max(second - STABLE_BUCKETS, this.#firstSecond()); each <= second; each++) {
      const area = this.#areas[each % RING_SIZE]!;
      if (area > peak) peak = area;
    }
    return peak / BUCKET_MS;
  }

  #firstSecond(): number {
    return Math.floor(this.#startMs / BUCKET_MS);
  }
}
