import { type CompiledLimits, Limiter } from "./limiter.ts";

// For each new caller: more than one, so that the table shrinks again after a crowd.
const LOOKED_AT = 2;

/**
 * One limiter a caller, in bounded memory: those that remember nothing are forgotten as others come. Where more callers than there are
 * places have taken something within one filling of their buckets, some get a full bucket anew; never one with calls running.
 */
export class CallerLimiters {
  readonly #capacity: number;
  readonly #byCaller = new Map<string, Limiter>();
  /** Kept, as a new iterator would pass all that was deleted at the front once more. */
  #sweep = this.#byCaller.entries();
  #forgotten = 0;

  /** @param capacity Callers remembered at once: some 200 bytes each. */
  constructor(capacity = 100_000) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#byCaller.size;
  }

  /** Callers that were forgotten although their buckets were not full: the sign that the capacity is too small. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** hot: the caller's limiter, with these limits from now on. */
  of(subject: string, limits: CompiledLimits, nowMs: number): Limiter {
    const known = this.#byCaller.get(subject);
    if (known !== undefined) {
      if (known.limits !== limits) known.setLimits(limits);
      return known;
    }
    for (let looked = 0; looked < LOOKED_AT; looked++) this.#lookAtNext(nowMs);
    const limiter = new Limiter(limits);
    this.#byCaller.set(subject, limiter);
    return limiter;
  }

  #lookAtNext(nowMs: number): void {
    const next = this.#sweep.next();
    if (next.done === true) {
      this.#sweep = this.#byCaller.entries();
      return;
    }
    const [subject, limiter] = next.value;
    if (limiter.running > 0) return;
    const isIdle = limiter.isIdle(nowMs);
    if (!isIdle && this.#byCaller.size < this.#capacity) return;
    this.#byCaller.delete(subject);
    if (!isIdle) this.#forgotten++;
  }
}
