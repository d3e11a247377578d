import type { LimiterSet, LimitScope } from "./admission.ts";
import type { Limiter } from "./limiter.ts";
import type { Rate } from "./rate.ts";
import type { TokenBucket } from "./token-bucket.ts";

/**
 * `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them, one item a rate that the call had to pass: `q`
 * calls in `w` seconds, `r` left, more in `t` seconds. None where no rate is limited.
 */
export function buildRateLimitHeaders(set: LimiterSet, nowMs: number): Record<string, string> {
  const headers: string[] = [];
  new RateLimitHeaders(set).append(headers, nowMs);
  const [policyName, policy, stateName, state] = headers;
  return policyName === undefined ? {} : { [policyName]: policy!, [stateName!]: state! };
}

/** The same for call after call: what has not changed since the last one is not written anew. */
export class RateLimitHeaders {
  readonly #items: readonly RateItem[];
  #policy = "";
  #state = "";

  constructor({ function: ofFunction, caller, global }: LimiterSet) {
    const items = [new RateItem("function", ofFunction), new RateItem("caller", caller), new RateItem("global", global)];
    this.#items = items.filter(({ limiter }) => limiter !== undefined);
  }

  /** hot: appends them as `[name, value, …]`. */
  append(headers: string[], nowMs: number): void {
    let hasChanged = false;
    for (const item of this.#items) if (item.update(nowMs)) hasChanged = true;
    if (hasChanged) this.#write();
    if (this.#policy !== "") headers.push("RateLimit-Policy", this.#policy, "RateLimit", this.#state);
  }

  #write(): void {
    this.#policy = "";
    this.#state = "";
    for (const { policy, state } of this.#items) {
      if (policy === "") continue;
      const separator = this.#policy === "" ? "" : ", ";
      this.#policy += separator + policy;
      this.#state += separator + state;
    }
  }
}

/** What the headers say of one rate; empty while its limiter has none. */
class RateItem {
  readonly limiter: Limiter | undefined;
  policy = "";
  state = "";
  readonly #scope: LimitScope;
  #rate: Rate | undefined;
  #left = -1;
  #seconds = -1;

  constructor(scope: LimitScope, limiter: Limiter | undefined) {
    this.#scope = scope;
    this.limiter = limiter;
  }

  /** hot: false where it says the same as before. */
  update(nowMs: number): boolean {
    const bucket = this.limiter?.bucket;
    if (bucket === undefined) return this.#clear();
    const { rate } = bucket;
    const left = Math.max(0, bucket.available(nowMs));
    const seconds = secondsToMore(bucket, left, nowMs);
    if (left === this.#left && seconds === this.#seconds && rate === this.#rate) return false;
    if (rate !== this.#rate) this.policy = `"${this.#scope}";q=${rate.burst};w=${Math.max(1, Math.ceil(rate.fillMs / 1000))}`;
    this.state = seconds === 0 ? `"${this.#scope}";r=${left}` : `"${this.#scope}";r=${left};t=${seconds}`;
    this.#rate = rate;
    this.#left = left;
    this.#seconds = seconds;
    return true;
  }

  #clear(): boolean {
    const hadText = this.policy !== "";
    this.policy = "";
    this.#rate = undefined;
    return hadText;
  }
}

/** For one with none left, until one call may come, else until one more may; 0 where it is full. */
function secondsToMore(bucket: TokenBucket, left: number, nowMs: number): number {
  const { burst, intervalMs } = bucket.rate;
  if (left >= burst) return 0;
  return Math.max(1, Math.ceil((left === 0 ? bucket.waitMs(nowMs) : intervalMs) / 1000));
}
