/**
 * Durations in whole microseconds, in eight equal buckets per power of two: a bucket is at most an eighth as wide as
 * its lower edge. Up to 8 µs each has a bucket of its own; beyond 2³¹ µs (36 minutes) all share the last one.
 */
export const DURATION_BUCKETS = 232;

const MAX_US = 2 ** 31 - 1;
const MAX_OCTAVE = 31;

/** One bucket per power of two, for what is kept coarser: bucket n holds 2ⁿ⁻¹ ≤ µs < 2ⁿ. */
export const OCTAVE_BUCKETS = MAX_OCTAVE + 1;

/** Whole microseconds, within what the buckets hold. */
export function toMicroseconds(ms: number): number {
  const us = Math.round(ms * 1_000);
  return us > MAX_US ? MAX_US : us > 0 ? us : 0;
}

// hot: once a call. 1500 µs: octave 10 (1024…), eighth 3 (1408…1536): (10 − 2) × 8 + 3 = 67.
export function bucketOf(us: number): number {
  if (us < 8) return us;
  const octave = 31 - Math.clz32(us);
  return ((octave - 2) << 3) | ((us >> (octave - 3)) & 7);
}

export function octaveOf(us: number): number {
  return 32 - Math.clz32(us);
}

/** Lower edge of a bucket; that of the next one is its upper edge. */
export function lowerEdgeUs(bucket: number): number {
  if (bucket < 8) return bucket;
  const octave = (bucket >> 3) + 2;
  return (8 + (bucket & 7)) * 2 ** (octave - 3);
}

/** How many durations are below 2ⁿ µs. */
export function countBelowOctave(buckets: Float64Array, octave: number): number {
  const end = octave <= 3 ? 2 ** octave : (octave - 2) << 3;
  let count = 0;
  for (let bucket = 0; bucket < end && bucket < buckets.length; bucket++) count += buckets[bucket]!;
  return count;
}

/** Seconds below which the part `quantile` of all durations lies, evenly spread within a bucket; 0 where there are none. */
export function quantileSeconds(buckets: Float64Array, quantile: number): number {
  let total = 0;
  for (const count of buckets) total += count;
  if (total === 0) return 0;
  const rank = quantile * total;
  let below = 0;
  for (let bucket = 0; bucket < buckets.length; bucket++) {
    const count = buckets[bucket]!;
    if (count > 0 && below + count >= rank) {
      const lower = lowerEdgeUs(bucket);
      return (lower + (lowerEdgeUs(bucket + 1) - lower) * ((rank - below) / count)) / 1e6;
    }
    below += count;
  }
  return lowerEdgeUs(buckets.length) / 1e6;
}
