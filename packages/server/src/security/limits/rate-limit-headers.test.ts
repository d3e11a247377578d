import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { enterAll } from "./admission.ts";
import { compileLimits, Limiter } from "./limiter.ts";
import { buildRateLimitHeaders, RateLimitHeaders } from "./rate-limit-headers.ts";

const RATES = [undefined, { requestsPerSecond: 1, burst: 3 }, { requestsPerSecond: 0.25, burst: 2 }, { requestsPerSecond: 5, burst: 4 }];
const compiled = RATES.map((rateLimit) => compileLimits({ rateLimit, maxConcurrency: 1000 })!);

test("headers that are kept from call to call say what those made anew would, whatever happens to the limits", () => {
  const step = fc.record({
    pauseMs: fc.nat(3_000),
    calls: fc.nat(4),
    change: fc.option(fc.tuple(fc.constantFrom("function", "caller", "global"), fc.nat(RATES.length - 1)), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const set = { function: new Limiter(compiled[1]!), caller: new Limiter(compiled[2]!), global: new Limiter(compiled[0]!) };
      const kept = new RateLimitHeaders(set);
      let nowMs = 0;
      for (const { pauseMs, calls, change } of steps) {
        nowMs += pauseMs;
        if (change !== undefined) set[change[0]].setLimits(compiled[change[1]]!);
        for (let call = 0; call < calls; call++) enterAll(set, nowMs);
        const headers: string[] = ["before", "it"];
        kept.append(headers, nowMs);
        const [, , ...appended] = headers;
        assert.deepEqual(appended, Object.entries(buildRateLimitHeaders(set, nowMs)).flat());
      }
    }),
  );
});

test("a limit without a rate has no headers, and gets them with one", () => {
  const limiter = new Limiter(compiled[0]!);
  const kept = new RateLimitHeaders({ function: undefined, caller: limiter, global: undefined });
  const read = (nowMs: number): string[] => {
    const headers: string[] = [];
    kept.append(headers, nowMs);
    return headers;
  };
  assert.deepEqual(read(0), []);
  limiter.setLimits(compiled[1]!);
  assert.deepEqual(read(0), ["RateLimit-Policy", '"caller";q=3;w=3', "RateLimit", '"caller";r=3']);
  limiter.setLimits(compiled[0]!);
  assert.deepEqual(read(0), []);
});
