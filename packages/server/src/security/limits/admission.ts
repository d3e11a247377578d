import { KsError } from "@kube-serverless/contracts";
import type { Limiter } from "./limiter.ts";

/** Whose limit it is, as messages and header fields say it. */
export type LimitScope = "function" | "caller" | "global";

/** The limiters that a call has to pass; undefined where nothing is limited. */
export interface LimiterSet {
  function: Limiter | undefined;
  caller: Limiter | undefined;
  global: Limiter | undefined;
}

/** Told to who is refused. */
export interface Refusal {
  scope: LimitScope;
  kind: "rate" | "concurrency";
  retryAfterMs: number;
}

/** When a place may come free, nobody knows; soon enough to ask again. */
const BUSY_RETRY_MS = 1000;
const SCOPES: readonly LimitScope[] = ["function", "caller", "global"];

/** hot: lets a call through all its limiters, or through none: undefined when it is in, and `leaveAll` must follow. */
export function enterAll(set: LimiterSet, nowMs: number): Refusal | undefined {
  const { function: ofFunction, caller, global } = set;
  const isFree =
    (ofFunction === undefined || (!ofFunction.isBusy() && ofFunction.waitMs(nowMs) === 0)) &&
    (caller === undefined || (!caller.isBusy() && caller.waitMs(nowMs) === 0)) &&
    (global === undefined || (!global.isBusy() && global.waitMs(nowMs) === 0));
  if (!isFree) return explain(set, nowMs);
  ofFunction?.enter(nowMs);
  caller?.enter(nowMs);
  global?.enter(nowMs);
  return undefined;
}

/** hot: once for each call that was let in, however it ended. */
export function leaveAll(set: LimiterSet): void {
  set.function?.leave();
  set.caller?.leave();
  set.global?.leave();
}

/** The limit that keeps the caller waiting longest, so that coming back then is worth it. */
function explain(set: LimiterSet, nowMs: number): Refusal {
  let worst: Refusal = { scope: "global", kind: "rate", retryAfterMs: 0 };
  for (const scope of SCOPES) {
    const limiter = set[scope];
    if (limiter === undefined) continue;
    const waitMs = limiter.waitMs(nowMs);
    if (waitMs > worst.retryAfterMs) worst = { scope, kind: "rate", retryAfterMs: waitMs };
    if (limiter.isBusy() && worst.retryAfterMs < BUSY_RETRY_MS) worst = { scope, kind: "concurrency", retryAfterMs: BUSY_RETRY_MS };
  }
  return worst;
}

const WHOSE: Record<LimitScope, string> = { function: "this function", caller: "you as a caller", global: "all callers together" };

/** The answer to a call that was refused: 429 `RATE_LIMITED`, naming the limit and its value. */
export function buildRateError(set: LimiterSet, refusal: Refusal, headers: Readonly<Record<string, string>>): KsError {
  const { scope, kind, retryAfterMs } = refusal;
  const limits = set[scope]?.limits;
  const rate = limits?.rate;
  const value =
    kind === "concurrency" || rate === undefined
      ? `${limits?.maxConcurrency} calls at once`
      : `${roundRate(1000 / rate.intervalMs)} requests a second, ${rate.burst} at once`;
  return new KsError("RATE_LIMITED", {
    message: `Rate limit exceeded: ${WHOSE[scope]} may have ${value}`,
    details: {
      scope,
      kind,
      limit:
        kind === "concurrency"
          ? limits?.maxConcurrency
          : rate && { requestsPerSecond: roundRate(1000 / rate.intervalMs), burst: rate.burst },
    },
    retryAfterMs,
    headers,
  });
}

function roundRate(perSecond: number): number {
  return Number(perSecond.toPrecision(6));
}
