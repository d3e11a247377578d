import { OCTAVE_BUCKETS } from "./duration-buckets.ts";
import { COLD_START_PHASES, type FunctionCounters, SCALAR_NAMES } from "./function-counters.ts";

/** A moment, no sum: the latest counts. */
const LAST_AT_MS = SCALAR_NAMES.indexOf("lastAtMs");

type Combine = (a: number, b: number) => number;

/** Counts in `target` what `source` has counted. */
export function addCounters(target: FunctionCounters, source: FunctionCounters): void {
  combine(target, source, (a, b) => a + b);
}

/** Takes what `source` has counted, and `target` counted too, out of it. */
export function subtractCounters(target: FunctionCounters, source: FunctionCounters): void {
  combine(target, source, (a, b) => a - b);
}

/** Of two states of the same counters the later, as they only grow. */
export function raiseCounters(target: FunctionCounters, source: FunctionCounters): void {
  combine(target, source, Math.max);
}

function combine(target: FunctionCounters, source: FunctionCounters, each: Combine): void {
  const lastAtMs = Math.max(target.scalars[LAST_AT_MS]!, source.scalars[LAST_AT_MS]!);
  combineArrays(target.scalars, source.scalars, each);
  target.scalars[LAST_AT_MS] = lastAtMs;
  combineArrays(target.errors, source.errors, each);
  combineArrays(target.durations, source.durations, each);
  if (source.coldStartPhases === undefined) return;
  target.coldStartPhases ??= COLD_START_PHASES.map(() => new Float64Array(OCTAVE_BUCKETS));
  source.coldStartPhases.forEach((buckets, phase) => combineArrays(target.coldStartPhases![phase]!, buckets, each));
  combineArrays(target.phaseSumsUs, source.phaseSumsUs, each);
}

function combineArrays(target: Float64Array, source: Float64Array, each: Combine): void {
  for (let index = 0; index < target.length; index++) target[index] = each(target[index]!, source[index]!);
}
