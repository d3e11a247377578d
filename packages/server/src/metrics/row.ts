import type { ErrorCode } from "@kube-serverless/contracts";
import { OCTAVE_BUCKETS } from "./duration-buckets.ts";
import { COLD_START_PHASES, ERROR_CODES, FunctionCounters, SCALAR_NAMES } from "./function-counters.ts";

const VERSION = 1;

/** JSON, so that a later version reads an earlier one's row by name; buckets as pairs `[index, count]` of those in use. */
interface Row {
  version: number;
  scalars: Record<string, number>;
  errors: Record<string, number>;
  durations: [number, number][];
  phases?: Record<string, { sumUs: number; buckets: [number, number][] }>;
}

/** The counters as they are stored: a few hundred bytes. */
export function encodeRow(counters: FunctionCounters): Uint8Array {
  const row: Row = {
    version: VERSION,
    scalars: Object.fromEntries(SCALAR_NAMES.map((name, slot) => [name, counters.scalars[slot]!])),
    errors: counters.errorsByCode(),
    durations: usedBuckets(counters.durations),
  };
  if (counters.coldStartPhases !== undefined) {
    row.phases = Object.fromEntries(
      COLD_START_PHASES.map((name, phase) => [
        name,
        { sumUs: counters.phaseSumsUs[phase]!, buckets: usedBuckets(counters.coldStartPhases![phase]!) },
      ]),
    );
  }
  return Buffer.from(JSON.stringify(row));
}

/** Fills fresh counters from a row. False, and nothing filled, for one that cannot be read or is of a later version. */
export function decodeRow(bytes: Uint8Array, into: FunctionCounters): boolean {
  const row = parseRow(bytes);
  if (row === undefined) return false;
  SCALAR_NAMES.forEach((name, slot) => {
    into.scalars[slot] = row.scalars[name] ?? 0;
  });
  for (const [code, times] of Object.entries(row.errors)) {
    const slot = ERROR_CODES.indexOf(code as ErrorCode);
    if (slot >= 0) into.errors[slot] = times;
  }
  fillBuckets(into.durations, row.durations);
  if (row.phases !== undefined) {
    const { phases } = row;
    into.coldStartPhases = COLD_START_PHASES.map((name) => fillBuckets(new Float64Array(OCTAVE_BUCKETS), phases[name]?.buckets ?? []));
    COLD_START_PHASES.forEach((name, phase) => {
      into.phaseSumsUs[phase] = phases[name]?.sumUs ?? 0;
    });
  }
  return true;
}

function parseRow(bytes: Uint8Array): Row | undefined {
  try {
    const row = JSON.parse(Buffer.from(bytes).toString()) as Row;
    const whole =
      row.version === VERSION && typeof row.scalars === "object" && typeof row.errors === "object" && Array.isArray(row.durations);
    return whole ? row : undefined;
  } catch {
    return undefined;
  }
}

function usedBuckets(buckets: Float64Array): [number, number][] {
  const used: [number, number][] = [];
  for (let index = 0; index < buckets.length; index++) if (buckets[index]! > 0) used.push([index, buckets[index]!]);
  return used;
}

function fillBuckets(buckets: Float64Array, used: readonly [number, number][]): Float64Array {
  for (const [index, count] of used) if (index < buckets.length) buckets[index] = count;
  return buckets;
}
