import type { LimiterSet, LimitScope } from "./admission.ts";
import type { Limiter } from "./limiter.ts";
import type { Rate } from "./rate.ts";

const SCOPES: readonly LimitScope[] = ["function", "caller", "global"];
const policies = new WeakMap<Rate, string>();

/**
 * `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers-10 has them, one item a rate that the call had to pass: `q`
 * calls in `w` seconds, `r` left, more in `t` seconds. None where no rate is limited.
 */
export function buildRateLimitHeaders(set: LimiterSet, nowMs: number): Record<string, string> {
  const headers: string[] = [];
  appendRateLimitHeaders(headers, set, nowMs);
  const [policyName, policy, stateName, state] = headers;
  return policyName === undefined ? {} : { [policyName]: policy!, [stateName!]: state! };
}

/** hot: the same as `[name, value, …]` behind others. */
export function appendRateLimitHeaders(headers: string[], set: LimiterSet, nowMs: number): void {
  let policy = "";
  let state = "";
  for (const scope of SCOPES) {
    const limiter = set[scope];
    if (limiter?.bucket === undefined) continue;
    const separator = policy === "" ? "" : ", ";
    policy += `${separator}"${scope}"${policyOf(limiter.bucket.rate)}`;
    state += `${separator}"${scope}"${stateOf(limiter, nowMs)}`;
  }
  if (policy !== "") headers.push("RateLimit-Policy", policy, "RateLimit", state);
}

/** Calls of a full bucket, and the whole seconds in which it fills. */
function policyOf(rate: Rate): string {
  let policy = policies.get(rate);
  if (policy === undefined) {
    policy = `;q=${rate.burst};w=${Math.max(1, Math.ceil(rate.fillMs / 1000))}`;
    policies.set(rate, policy);
  }
  return policy;
}

function stateOf({ bucket }: Limiter, nowMs: number): string {
  if (bucket === undefined) return "";
  const left = Math.max(0, bucket.available(nowMs));
  if (left >= bucket.rate.burst) return `;r=${left}`;
  // For one with none left, until one call may come; else until one more may.
  const waitMs = left === 0 ? bucket.waitMs(nowMs) : bucket.rate.intervalMs;
  return `;r=${left};t=${Math.max(1, Math.ceil(waitMs / 1000))}`;
}
