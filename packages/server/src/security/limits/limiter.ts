import type { RateLimit } from "@kube-serverless/contracts";
import { compileRate, type Rate } from "./rate.ts";
import { TokenBucket } from "./token-bucket.ts";

/** What is limited: both may be left out. */
export interface Limits {
  rateLimit?: RateLimit | undefined;
  maxConcurrency?: number | undefined;
}

/** Limits as they are reckoned with; the same object for all that share them. */
export interface CompiledLimits {
  readonly rate: Rate | undefined;
  readonly maxConcurrency: number;
}

/** Undefined when nothing is limited. */
export function compileLimits({ rateLimit, maxConcurrency }: Limits): CompiledLimits | undefined {
  if (rateLimit === undefined && maxConcurrency === undefined) return undefined;
  return { rate: rateLimit === undefined ? undefined : compileRate(rateLimit), maxConcurrency: maxConcurrency ?? Number.POSITIVE_INFINITY };
}

/** What one function, one caller or everybody together may do: a rate, and calls at once. */
export class Limiter {
  #limits: CompiledLimits;
  #bucket: TokenBucket | undefined;
  #running = 0;

  constructor(limits: CompiledLimits) {
    this.#limits = limits;
    if (limits.rate !== undefined) this.#bucket = new TokenBucket(limits.rate);
  }

  get limits(): CompiledLimits {
    return this.#limits;
  }

  get bucket(): TokenBucket | undefined {
    return this.#bucket;
  }

  /** Calls that were let in and have not ended. */
  get running(): number {
    return this.#running;
  }

  /** In place: calls that run go on counting, what was taken stays taken. */
  setLimits(limits: CompiledLimits): void {
    if (limits === this.#limits) return;
    this.#limits = limits;
    if (limits.rate === undefined) this.#bucket = undefined;
    else if (this.#bucket === undefined) this.#bucket = new TokenBucket(limits.rate);
    else this.#bucket.setRate(limits.rate);
  }

  /** hot */
  isBusy(): boolean {
    return this.#running >= this.#limits.maxConcurrency;
  }

  /** hot: 0 when the rate allows a call now. */
  waitMs(nowMs: number): number {
    return this.#bucket === undefined ? 0 : this.#bucket.waitMs(nowMs);
  }

  /** hot: one call, which `isBusy` and `waitMs` allow. */
  enter(nowMs: number): void {
    this.#bucket?.take(nowMs);
    this.#running++;
  }

  /** hot: exactly once for each `enter`. */
  leave(): void {
    this.#running--;
  }

  /** Whether it remembers nothing, so that a new one would decide the same. */
  isIdle(nowMs: number): boolean {
    return this.#running === 0 && (this.#bucket === undefined || this.#bucket.isFull(nowMs));
  }
}
