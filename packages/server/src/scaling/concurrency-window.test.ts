import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ConcurrencyWindow } from "./concurrency-window.ts";

const T0 = 1_000_000;

test("a steady load is its own mean, from the first second on", () => {
  const window = new ConcurrencyWindow(T0);
  window.record(7, T0);
  for (const seconds of [1, 2, 5.5, 6, 30, 60, 61, 500]) {
    const load = window.summarise(T0 + seconds * 1_000);
    assert.ok(Math.abs(load.stable - 7) < 1e-9, `stable after ${seconds} s: ${load.stable}`);
    assert.ok(Math.abs(load.panic - 7) < 1e-9, `panic after ${seconds} s: ${load.panic}`);
    assert.equal(load.peak, 7);
  }
});

test("a call of 100 ms a second is a load of a tenth", () => {
  const window = new ConcurrencyWindow(T0);
  for (let second = 0; second < 120; second++) {
    window.record(1, T0 + second * 1_000 + 300);
    window.record(0, T0 + second * 1_000 + 400);
  }
  const load = window.summarise(T0 + 120_000);
  // 59 whole seconds and the one that begins: 59 × 100 ms in 59 s.
  assert.ok(Math.abs(load.stable - 0.1) < 0.003, `${load.stable}`);
  assert.equal(load.peak, 0.1);
});

test("a burst fills the panic window at once and leaves it after six seconds; the peak stays a minute", () => {
  const window = new ConcurrencyWindow(T0);
  window.record(0, T0);
  window.record(60, T0 + 60_000);
  window.record(0, T0 + 62_000);
  const soon = window.summarise(T0 + 62_000);
  assert.ok(soon.panic >= 20, `60 × 2 s in 6 s are 20: ${soon.panic}`);
  assert.ok(soon.stable <= 2.1, `60 × 2 s in 60 s are 2: ${soon.stable}`);
  assert.equal(soon.peak, 60);
  const later = window.summarise(T0 + 69_000);
  assert.equal(later.panic, 0);
  assert.equal(later.peak, 60);
  const gone = window.summarise(T0 + 124_000);
  assert.deepEqual(gone, { stable: 0, panic: 0, peak: 0 });
});

test("an hour without a change costs one look and leaves no old second behind", () => {
  const window = new ConcurrencyWindow(T0);
  window.record(100, T0);
  window.record(0, T0 + 500);
  assert.deepEqual(window.summarise(T0 + 3_600_000), { stable: 0, panic: 0, peak: 0 });
});

test("means agree with a brute-force sum over any history", () => {
  const change = fc.record({ afterMs: fc.integer({ min: 0, max: 9_000 }), calls: fc.integer({ min: 0, max: 200 }) });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5_000 }), fc.array(change, { minLength: 1, maxLength: 40 }), (offset, changes) => {
      const startMs = T0 + offset;
      const window = new ConcurrencyWindow(startMs);
      let nowMs = startMs;
      const spans: { fromMs: number; calls: number }[] = [{ fromMs: startMs, calls: 0 }];
      for (const { afterMs, calls } of changes) {
        nowMs += afterMs;
        window.record(calls, nowMs);
        spans.push({ fromMs: nowMs, calls });
      }
      nowMs += 1_500;
      const load = window.summarise(nowMs);
      assert.ok(Math.abs(load.stable - bruteMean(spans, startMs, nowMs, 60)) < 1e-6);
      assert.ok(Math.abs(load.panic - bruteMean(spans, startMs, nowMs, 6)) < 1e-6);
      assert.ok(load.peak >= load.stable - 1e-6 || nowMs - startMs < 1_000 || load.peak > 0);
    }),
    { numRuns: 200 },
  );
});

function bruteMean(spans: { fromMs: number; calls: number }[], startMs: number, nowMs: number, seconds: number): number {
  const sinceMs = Math.max(startMs, (Math.floor(nowMs / 1_000) - seconds + 1) * 1_000);
  let area = 0;
  spans.forEach((span, index) => {
    const untilMs = spans[index + 1]?.fromMs ?? nowMs;
    area += span.calls * Math.max(0, Math.min(untilMs, nowMs) - Math.max(span.fromMs, sinceMs));
  });
  return area / Math.max(1_000, nowMs - sinceMs);
}
