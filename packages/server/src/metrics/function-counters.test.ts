import assert from "node:assert/strict";
import { test } from "node:test";
import type { ErrorCode } from "@kube-serverless/contracts";
import fc from "fast-check";
import { FunctionCounters } from "./function-counters.ts";
import { decodeRow, encodeRow } from "./row.ts";

const T0 = Date.UTC(2024, 0, 15, 10, 30);
const live = { inFlight: 0, replicas: 0 };

test("the documented figures, from what was counted", () => {
  const counters = new FunctionCounters();
  for (let i = 0; i < 98; i++) counters.record(200, 512, undefined, T0 + i);
  counters.record(200, 512, "FUNCTION_ERROR", T0 + 98);
  counters.record(1_000, 512, "TIMEOUT", T0 + 99);
  counters.recordColdStart({ queueMs: 1, startMs: 0.5, loadMs: 2 });
  const metrics = counters.snapshot({ inFlight: 3, replicas: 2 });
  assert.equal(metrics.invocations, 100);
  assert.equal(metrics.coldStarts, 1);
  assert.ok(Math.abs(metrics.avgDuration - 0.208) < 1e-9, `${metrics.avgDuration}`);
  assert.equal(metrics.errorRate, 0.02);
  // 512 MiB are half a GB: 20.8 s × 0.5 × 0.0000166667 + 100 × 0.0000002.
  assert.ok(Math.abs(metrics.costEstimate - (10.4 * 0.0000166667 + 0.00002)) < 1e-12, `${metrics.costEstimate}`);
  assert.ok(Math.abs(metrics.p50 - 0.2) < 0.025 && Math.abs(metrics.p95 - 0.2) < 0.025, `${metrics.p50}`);
  assert.ok(Math.abs(metrics.coldStartAvg - 0.0035) < 1e-9);
  assert.deepEqual(metrics.errors, { FUNCTION_ERROR: 1, TIMEOUT: 1 });
  assert.equal(metrics.lastInvocation, "2024-01-15T10:30:00.099Z");
  assert.deepEqual([metrics.inFlight, metrics.replicas], [3, 2]);
});

test("before the first call everything is 0", () => {
  const { lastInvocation, errors, ...numbers } = new FunctionCounters().snapshot(live);
  assert.equal(lastInvocation, null);
  assert.deepEqual(errors, {});
  assert.deepEqual([...new Set(Object.values(numbers))], [0]);
});

test("a caller who left, and a platform without a place, are no failure of the function", () => {
  const counters = new FunctionCounters();
  const codes: ErrorCode[] = ["CLIENT_CLOSED", "NO_CAPACITY", "DRAINING", "RESPONSE_TOO_LARGE"];
  for (const code of codes) counters.record(-1, 256, code, T0);
  counters.recordRefusal("OVERLOADED");
  const metrics = counters.snapshot(live);
  assert.equal(metrics.errorRate, 0);
  assert.equal(metrics.invocations, 4);
  assert.equal(metrics.avgDuration, 0);
  assert.deepEqual(metrics.errors, { CLIENT_CLOSED: 1, OVERLOADED: 1, RESPONSE_TOO_LARGE: 1, DRAINING: 1, NO_CAPACITY: 1 });
});

test("prices can be set", () => {
  const counters = new FunctionCounters();
  counters.record(2_000, 1_024, undefined, T0);
  assert.equal(counters.snapshot(live, { perGbSecond: 3, perInvocation: 0.5 }).costEstimate, 6.5);
});

test("a row brings back everything, and counting goes on", () => {
  const call = fc.record({
    durationMs: fc.double({ min: -1, max: 1e6, noNaN: true }),
    memoryMiB: fc.integer({ min: 64, max: 10_240 }),
    code: fc.option(fc.constantFrom<ErrorCode>("FUNCTION_ERROR", "TIMEOUT", "CLIENT_CLOSED", "INTERNAL"), { nil: undefined }),
    cold: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 30 }), (calls) => {
      const counters = new FunctionCounters();
      for (const each of calls) {
        counters.record(each.durationMs, each.memoryMiB, each.code, T0);
        if (each.cold) counters.recordColdStart({ queueMs: 0.1, startMs: each.durationMs, loadMs: 3 });
      }
      const restored = new FunctionCounters();
      assert.ok(decodeRow(encodeRow(counters), restored));
      assert.deepEqual(restored.snapshot(live), counters.snapshot(live));
      assert.deepEqual(encodeRow(restored), encodeRow(counters));
      counters.record(5, 256, undefined, T0 + 1);
      restored.record(5, 256, undefined, T0 + 1);
      assert.deepEqual(restored.snapshot(live), counters.snapshot(live));
    }),
    { numRuns: 50 },
  );
});

test("a row that cannot be read, or is of a later version, fills nothing", () => {
  const later = JSON.stringify({ version: 2, scalars: { invocations: 7 }, errors: {}, durations: [] });
  for (const text of ["", "{", "null", "[]", '{"version":1}', later]) {
    const counters = new FunctionCounters();
    assert.equal(decodeRow(Buffer.from(text), counters), false, text);
    assert.equal(counters.invocations, 0);
  }
});

test("a code that this version does not know is passed over", () => {
  const row = { version: 1, scalars: { invocations: 7 }, errors: { GONE: 3, TIMEOUT: 1 }, durations: [[9_999, 1]] };
  const counters = new FunctionCounters();
  assert.ok(decodeRow(Buffer.from(JSON.stringify(row)), counters));
  assert.deepEqual(counters.errorsByCode(), { TIMEOUT: 1 });
});
