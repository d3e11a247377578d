import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  bucketOf,
  countBelowOctave,
  DURATION_BUCKETS,
  lowerEdgeUs,
  OCTAVE_BUCKETS,
  octaveOf,
  quantileSeconds,
  toMicroseconds,
} from "./duration-buckets.ts";

const microseconds = fc.oneof(fc.nat(100), fc.nat(100_000), fc.nat(2 ** 31 - 1));

test("every duration lies between the edges of its bucket", () => {
  fc.assert(
    fc.property(microseconds, (us) => {
      const bucket = bucketOf(us);
      assert.ok(bucket < DURATION_BUCKETS);
      assert.ok(lowerEdgeUs(bucket) <= us && us < lowerEdgeUs(bucket + 1));
      assert.ok(lowerEdgeUs(bucket + 1) - lowerEdgeUs(bucket) <= Math.max(1, lowerEdgeUs(bucket) / 8));
    }),
  );
});

test("octaves hold what they say", () => {
  fc.assert(
    fc.property(microseconds, (us) => {
      const octave = octaveOf(us);
      assert.ok(octave < OCTAVE_BUCKETS && us < 2 ** octave && (us === 0 || us >= 2 ** (octave - 1)));
    }),
  );
});

test("what is below an octave is counted exactly", () => {
  fc.assert(
    fc.property(fc.array(microseconds), fc.nat(31), (all, octave) => {
      const buckets = new Float64Array(DURATION_BUCKETS);
      for (const us of all) buckets[bucketOf(us)]!++;
      assert.equal(countBelowOctave(buckets, octave), all.filter((us) => us < 2 ** octave).length);
    }),
  );
});

test("a quantile is within an eighth of the true one", () => {
  fc.assert(
    fc.property(fc.array(microseconds, { minLength: 1 }), fc.constantFrom(0.5, 0.95, 0.99), (all, quantile) => {
      const buckets = new Float64Array(DURATION_BUCKETS);
      for (const us of all) buckets[bucketOf(us)]!++;
      const sorted = all.toSorted((a, b) => a - b);
      const exact = sorted[Math.ceil(quantile * all.length) - 1]!;
      const estimated = quantileSeconds(buckets, quantile) * 1e6;
      assert.ok(Math.abs(estimated - exact) <= exact / 8 + 1, `${estimated} for ${exact}`);
    }),
  );
});

test("times beyond the last bucket and below zero are kept within", () => {
  assert.equal(bucketOf(toMicroseconds(1e12)), DURATION_BUCKETS - 1);
  assert.equal(toMicroseconds(-5), 0);
  assert.equal(toMicroseconds(Number.NaN), 0);
});
