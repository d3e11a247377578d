import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { compileRate } from "./rate.ts";
import { TokenBucket } from "./token-bucket.ts";

/** The definition, step by step: in whole ticks, so that nothing is rounded. */
class SlowBucket {
  tokens: number;
  atTick = 0;
  readonly ticksPerToken: number;
  readonly burst: number;

  constructor(ticksPerToken: number, burst: number) {
    this.ticksPerToken = ticksPerToken;
    this.burst = burst;
    this.tokens = burst * ticksPerToken;
  }

  tryTake(tick: number): boolean {
    for (; this.atTick < tick; this.atTick++) this.tokens = Math.min(this.tokens + 1, this.burst * this.ticksPerToken);
    if (this.tokens < this.ticksPerToken) return false;
    this.tokens -= this.ticksPerToken;
    return true;
  }

  get available(): number {
    return Math.floor(this.tokens / this.ticksPerToken);
  }
}

function tryTake(bucket: TokenBucket, nowMs: number): boolean {
  if (bucket.waitMs(nowMs) > 0) return false;
  bucket.take(nowMs);
  return true;
}

test("decides as the slow definition does, whenever calls come", () => {
  const pauses = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 400 })), { maxLength: 120 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 8 }),
      fc.nat(1_000_000),
      pauses,
      (interval, burst, startMs, gaps) => {
        const fast = new TokenBucket(compileRate({ requestsPerSecond: 1000 / interval, burst }));
        const slow = new SlowBucket(interval, burst);
        let tick = 0;
        for (const gap of gaps) {
          tick += gap;
          assert.equal(tryTake(fast, startMs + tick), slow.tryTake(tick), `at ${tick}`);
          assert.equal(fast.available(startMs + tick), slow.available, `left at ${tick}`);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("who waits as long as is said gets in, and not a moment earlier", () => {
  const rates = fc.record({
    requestsPerSecond: fc.double({ min: 0.001, max: 100_000, noNaN: true }),
    burst: fc.integer({ min: 1, max: 1000 }),
  });
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 2000 }), (limit, taken) => {
      const bucket = new TokenBucket(compileRate(limit));
      for (let i = 0; i < Math.min(taken, limit.burst); i++) assert.ok(tryTake(bucket, 5));
      const waitMs = bucket.waitMs(5);
      assert.equal(waitMs > 0, taken >= limit.burst);
      assert.equal(bucket.waitMs(5 + waitMs), 0);
      if (waitMs > 0.01) assert.ok(bucket.waitMs(5 + waitMs * 0.99) > 0);
    }),
  );
});

test("whatever happened, a bucket is full again after the time that an empty one needs", () => {
  const steps = fc.array(
    fc.record({
      requestsPerSecond: fc.double({ min: 0.01, max: 1000, noNaN: true }),
      burst: fc.integer({ min: 1, max: 50 }),
      taken: fc.nat(60),
      // Back, too: a monotonic clock never does, but a limit must not stay shut if one did.
      movedMs: fc.integer({ min: -100_000, max: 100_000 }),
    }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(
    fc.property(steps, (all) => {
      let nowMs = 200_000;
      const bucket = new TokenBucket(compileRate(all[0]!));
      for (const step of all) {
        bucket.setRate(compileRate(step));
        nowMs += step.movedMs;
        for (let i = 0; i < step.taken; i++) tryTake(bucket, nowMs);
        assert.ok(bucket.waitMs(nowMs) <= bucket.rate.intervalMs + 1e-6);
      }
      const fullMs = nowMs + bucket.rate.fillMs;
      assert.equal(bucket.available(fullMs), bucket.rate.burst);
    }),
  );
});

test("in the long run, the rate is what was said, and the burst at most once", () => {
  const bucket = new TokenBucket(compileRate({ requestsPerSecond: 100, burst: 20 }));
  let passed = 0;
  for (let nowMs = 0; nowMs < 60_000; nowMs += 0.7) if (tryTake(bucket, nowMs)) passed++;
  assert.ok(Math.abs(passed - 6020) <= 1, `${passed}`);
});

test("without a burst, one second's calls may come at once, and at least one", () => {
  assert.equal(compileRate({ requestsPerSecond: 2.5 }).burst, 3);
  assert.equal(compileRate({ requestsPerSecond: 0.01 }).burst, 1);
});
