/** What is told of a list of measured values. */
export interface Summary {
  count: number;
  min: number;
  median: number;
  max: number;
}

export interface Percentiles extends Summary {
  p90: number;
  p99: number;
}

/** The value below which this part of the values lies, between neighbours in proportion. @param part 0 to 1 */
export function percentile(values: readonly number[], part: number): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const at = part * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  const above = sorted[Math.ceil(at)]!;
  return below + (above - below) * (at - Math.floor(at));
}

export function summarise(values: readonly number[]): Summary {
  return { count: values.length, min: percentile(values, 0), median: percentile(values, 0.5), max: percentile(values, 1) };
}

export function summarisePercentiles(values: readonly number[]): Percentiles {
  return { ...summarise(values), p90: percentile(values, 0.9), p99: percentile(values, 0.99) };
}

/** `a[i] / b[i]`: what was measured in the same round is compared, as the machine's speed changes between rounds. */
export function pairedRatios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value / b[i]!);
}
