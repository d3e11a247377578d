import assert from "node:assert/strict";
import { test } from "node:test";
import { pairedRatios, percentile, summarise, summarisePercentiles } from "./statistics.ts";

test("percentiles lie between their neighbours, whatever the order", () => {
  assert.equal(percentile([3, 1, 2], 0.5), 2);
  assert.equal(percentile([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(percentile([10, 20], 0.9), 19);
  assert.equal(percentile([7], 0.99), 7);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

test("a summary tells count, ends and middle", () => {
  assert.deepEqual(summarise([5, 1, 9]), { count: 3, min: 1, median: 5, max: 9 });
  const hundred = Array.from({ length: 101 }, (_, i) => i);
  assert.deepEqual(summarisePercentiles(hundred), { count: 101, min: 0, median: 50, max: 100, p90: 90, p99: 99 });
});

test("ratios pair the rounds", () => {
  assert.deepEqual(pairedRatios([10, 30], [20, 30]), [0.5, 1]);
});
