import { SweptMap } from "../swept-map.ts";
import { type CompiledLimits, Limiter } from "./limiter.ts";

/**
 * One limiter a caller, in bounded memory: those that remember nothing are forgotten as others come. Where more callers than there are
 * places have taken something within one filling of their buckets, some get a full bucket anew; never one with calls running.
 */
export class CallerLimiters {
  readonly #byCaller: SweptMap<Limiter>;

  /** @param capacity Callers remembered at once: some 200 bytes each. */
  constructor(capacity = 100_000) {
    this.#byCaller = new SweptMap({
      capacity,
      isOver: (limiter, nowMs) => limiter.isIdle(nowMs),
      isPinned: (limiter) => limiter.running > 0,
    });
  }

  get size(): number {
    return this.#byCaller.size;
  }

  /** Callers that were forgotten although their buckets were not full: the sign that the capacity is too small. */
  get forgotten(): number {
    return this.#byCaller.forgotten;
  }

  /** hot: the caller's limiter, with these limits from now on. */
  of(subject: string, limits: CompiledLimits, nowMs: number): Limiter {
    const known = this.#byCaller.get(subject);
    if (known !== undefined) {
      if (known.limits !== limits) known.setLimits(limits);
      return known;
    }
    const limiter = new Limiter(limits);
    this.#byCaller.set(subject, limiter, nowMs);
    return limiter;
  }
}
