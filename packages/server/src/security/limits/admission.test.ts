import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { buildRateError, enterAll, leaveAll, type LimiterSet } from "./admission.ts";
import { CallerLimiters } from "./caller-limiters.ts";
import { compileLimits, Limiter, type Limits } from "./limiter.ts";
import { buildRateLimitHeaders } from "./rate-limit-headers.ts";

const limiter = (limits: Limits) => new Limiter(compileLimits(limits)!);
const rate = (requestsPerSecond: number, burst: number): Limits => ({ rateLimit: { requestsPerSecond, burst } });
const set = (of: Partial<LimiterSet>): LimiterSet => ({ function: undefined, caller: undefined, global: undefined, ...of });

test("a call that one limit refuses takes nothing of the others", () => {
  const limiters = set({ function: limiter(rate(1, 1)), caller: limiter(rate(1, 5)), global: limiter({ maxConcurrency: 10 }) });
  assert.equal(enterAll(limiters, 0), undefined);
  for (let i = 0; i < 20; i++) assert.deepEqual(enterAll(limiters, 0), { scope: "function", kind: "rate", retryAfterMs: 1000 });
  assert.equal(limiters.caller?.bucket?.available(0), 4);
  assert.equal(limiters.global?.running, 1);
});

test("the longest wait is told, as an earlier return would be in vain", () => {
  const limiters = set({ function: limiter(rate(1, 1)), caller: limiter(rate(0.1, 1)), global: limiter({ maxConcurrency: 1 }) });
  assert.equal(enterAll(limiters, 0), undefined);
  assert.deepEqual(enterAll(limiters, 0), { scope: "caller", kind: "rate", retryAfterMs: 10_000 });
  assert.deepEqual(enterAll(limiters, 10_000), { scope: "global", kind: "concurrency", retryAfterMs: 1000 });
  leaveAll(limiters);
  assert.equal(enterAll(limiters, 10_000), undefined);
});

test("never more calls at once than allowed, and all places free once all have left", () => {
  const maximum = fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined });
  fc.assert(
    fc.property(maximum, maximum, maximum, fc.array(fc.boolean(), { maxLength: 60 }), (ofFunction, ofCaller, ofAll, steps) => {
      const make = (maxConcurrency: number | undefined) => (maxConcurrency === undefined ? undefined : limiter({ maxConcurrency }));
      const limiters: LimiterSet = { function: make(ofFunction), caller: make(ofCaller), global: make(ofAll) };
      const least = Math.min(ofFunction ?? Infinity, ofCaller ?? Infinity, ofAll ?? Infinity);
      let running = 0;
      for (const isArrival of steps) {
        if (isArrival) {
          const refusal = enterAll(limiters, 0);
          assert.equal(refusal === undefined, running < least);
          if (refusal === undefined) running++;
        } else if (running > 0) {
          leaveAll(limiters);
          running--;
        }
      }
      while (running-- > 0) leaveAll(limiters);
      for (const one of Object.values(limiters)) assert.equal(one?.running ?? 0, 0);
    }),
  );
});

test("limits that change keep what was taken and what runs", () => {
  const one = limiter({ ...rate(1, 10), maxConcurrency: 5 });
  const limiters = set({ function: one });
  for (let i = 0; i < 5; i++) enterAll(limiters, 0);
  one.setLimits(compileLimits({ ...rate(1, 6), maxConcurrency: 6 })!);
  assert.equal(one.bucket?.available(0), 1);
  assert.equal(enterAll(limiters, 0), undefined);
  assert.equal(enterAll(limiters, 0)?.kind, "rate");
  one.setLimits(compileLimits({ maxConcurrency: 7 })!);
  assert.equal(enterAll(limiters, 0), undefined);
  assert.equal(enterAll(limiters, 0)?.kind, "concurrency");
});

test("a refusal names the limit, its value and when to return", () => {
  const limiters = set({ caller: limiter(rate(0.5, 1)) });
  enterAll(limiters, 0);
  const refusal = enterAll(limiters, 100)!;
  const error = buildRateError(limiters, refusal, {});
  assert.equal(error.code, "RATE_LIMITED");
  assert.equal(error.status, 429);
  assert.equal(error.message, "Rate limit exceeded: you as a caller may have 0.5 requests a second, 1 at once");
  assert.deepEqual(error.details, { scope: "caller", kind: "rate", limit: { requestsPerSecond: 0.5, burst: 1 } });
  assert.equal(error.retryAfterMs, 1900);
});

test("header fields tell the policy, what is left and when there is more", () => {
  const limiters = set({
    function: limiter(rate(10, 20)),
    caller: limiter({ ...rate(0.1, 2), maxConcurrency: 3 }),
    global: limiter({ maxConcurrency: 9 }),
  });
  assert.deepEqual(buildRateLimitHeaders(limiters, 0), {
    "RateLimit-Policy": '"function";q=20;w=2, "caller";q=2;w=20',
    RateLimit: '"function";r=20, "caller";r=2',
  });
  enterAll(limiters, 0);
  enterAll(limiters, 0);
  assert.equal(buildRateLimitHeaders(limiters, 4_000)["RateLimit"], '"function";r=20, "caller";r=0;t=6');
  assert.deepEqual(buildRateLimitHeaders(set({ global: limiter({ maxConcurrency: 1 }) }), 0), {});
});

test("each caller has a bucket of its own", () => {
  const callers = new CallerLimiters();
  const limits = compileLimits(rate(1, 1))!;
  for (const subject of ["a", "b"]) {
    const limiters = set({ caller: callers.of(subject, limits, 0) });
    assert.equal(enterAll(limiters, 0), undefined);
    leaveAll(limiters);
  }
  assert.equal(enterAll(set({ caller: callers.of("a", limits, 0) }), 0)?.scope, "caller");
});

test("a million callers need the memory of those that came lately", () => {
  const callers = new CallerLimiters(100_000);
  const limits = compileLimits(rate(10, 20))!;
  let largest = 0;
  for (let i = 0; i < 1_000_000; i++) {
    const nowMs = i / 50;
    callers.of(`oidc:${i}`, limits, nowMs).enter(nowMs);
    callers.of(`oidc:${i}`, limits, nowMs).leave();
    largest = Math.max(largest, callers.size);
  }
  // 50 callers a millisecond, whose one taken call is back after 100 ms.
  assert.ok(largest < 20_000, `${largest}`);
  assert.equal(callers.forgotten, 0);
});

test("a crowd beyond the capacity is bounded, and who runs keeps their limiter", () => {
  const callers = new CallerLimiters(1_000);
  const limits = compileLimits({ ...rate(0.001, 5), maxConcurrency: 1 })!;
  const busy = callers.of("busy", limits, 0);
  busy.enter(0);
  for (let i = 0; i < 20_000; i++) {
    const one = callers.of(`c${i}`, limits, 0);
    one.enter(0);
    one.leave();
  }
  assert.ok(callers.size <= 1_001, `${callers.size}`);
  assert.ok(callers.forgotten > 18_000);
  assert.equal(callers.of("busy", limits, 0), busy);
  assert.ok(busy.isBusy());
});

test("after a crowd the table shrinks again", () => {
  const callers = new CallerLimiters(100_000);
  const limits = compileLimits(rate(10, 20))!;
  for (let i = 0; i < 50_000; i++) {
    const one = callers.of(`c${i}`, limits, 0);
    one.enter(0);
    one.leave();
  }
  for (let i = 0; i < 60_000; i++) callers.of(`d${i}`, limits, 10_000 + i);
  assert.ok(callers.size < 10_000, `${callers.size}`);
});
