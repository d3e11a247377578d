import { ERRORS, type ErrorCode, type FunctionMetrics } from "@kube-serverless/contracts";
import { bucketOf, DURATION_BUCKETS, OCTAVE_BUCKETS, octaveOf, quantileSeconds, toMicroseconds } from "./duration-buckets.ts";

/** What `costEstimate` is made of, in US dollars. */
export interface Prices {
  perGbSecond: number;
  perInvocation: number;
}

export const DEFAULT_PRICES: Readonly<Prices> = { perGbSecond: 0.0000166667, perInvocation: 0.0000002 };

/** Where the time of a cold start went; the phases follow each other. */
export interface ColdStart {
  /** Until a replica began to be claimed or started. */
  queueMs: number;
  /** From then until the replica said HELLO. */
  startMs: number;
  /** From then until the function's code was loaded. */
  loadMs: number;
}

export const COLD_START_PHASES = ["queue", "start", "load"] as const;

/** What the counters cannot know. */
export interface LiveFigures {
  inFlight: number;
  replicas: number;
}

export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];
const ERROR_SLOTS = new Map(ERROR_CODES.map((code, index) => [code, index]));

/** Codes that say the function itself failed; a status that a function chose is none of them. */
export function isFunctionFailure(code: string): boolean {
  return code === "TIMEOUT" || code.startsWith("FUNCTION_");
}

// Slots of the one array: a typed array takes a third of what an object with as many numbers takes.
const INVOCATIONS = 0;
const COLD_STARTS = 1;
const TIMED = 2;
const DURATION_US = 3;
const COLD_START_US = 4;
const GB_SECONDS = 5;
const LAST_AT_MS = 6;
const SCALARS = 7;

/** Names of the single numbers, in the order of their slots; rows are stored by name. */
export const SCALAR_NAMES = ["invocations", "coldStarts", "timed", "durationUs", "coldStartUs", "gbSeconds", "lastAtMs"] as const;

/**
 * All that is counted of one function since it was created, over updates and restarts.
 * Made at the first call: about 2.2 KiB, and 0.8 more at the first cold start.
 */
export class FunctionCounters {
  readonly scalars = new Float64Array(SCALARS);
  readonly errors = new Float64Array(ERROR_CODES.length);
  readonly durations = new Float64Array(DURATION_BUCKETS);
  /** By phase; absent before the first cold start. */
  coldStartPhases: Float64Array[] | undefined;
  /** Sum of each phase in µs. */
  readonly phaseSumsUs = new Float64Array(COLD_START_PHASES.length);
  readonly #onChange: (counters: FunctionCounters) => void;
  #dirty = false;

  /** `onChange` is called at the first change after each `markClean`. */
  constructor(onChange: (counters: FunctionCounters) => void = () => {}) {
    this.#onChange = onChange;
  }

  /**
   * One attempt that was admitted. `durationMs` is the handler's own time, below 0 when it never began.
   * @param code how it failed; undefined for one that answered, whatever its status
   */
  record(durationMs: number, memoryMiB: number, code: ErrorCode | undefined, nowMs: number): void {
    // hot: once a call; numbers only, nothing allocated.
    const scalars = this.scalars;
    scalars[INVOCATIONS]!++;
    scalars[LAST_AT_MS] = nowMs;
    if (durationMs >= 0) {
      const us = toMicroseconds(durationMs);
      scalars[TIMED]!++;
      scalars[DURATION_US]! += us;
      scalars[GB_SECONDS]! += (us * memoryMiB) / 1.024e9;
      this.durations[bucketOf(us)]!++;
    }
    if (code !== undefined) this.errors[ERROR_SLOTS.get(code)!]!++;
    if (!this.#dirty) this.#changed();
  }

  /** A call that was refused before it was admitted: shown under its code, it costs nothing and is no invocation. */
  recordRefusal(code: ErrorCode): void {
    this.errors[ERROR_SLOTS.get(code)!]!++;
    if (!this.#dirty) this.#changed();
  }

  /** A call that waited for a replica to be specialised or started. */
  recordColdStart(cold: ColdStart): void {
    this.coldStartPhases ??= COLD_START_PHASES.map(() => new Float64Array(OCTAVE_BUCKETS));
    const phases = [toMicroseconds(cold.queueMs), toMicroseconds(cold.startMs), toMicroseconds(cold.loadMs)];
    phases.forEach((us, phase) => {
      this.coldStartPhases![phase]![octaveOf(us)]!++;
      this.phaseSumsUs[phase]! += us;
      this.scalars[COLD_START_US]! += us;
    });
    this.scalars[COLD_STARTS]!++;
    if (!this.#dirty) this.#changed();
  }

  /** What was counted is stored, or is about to be. */
  markClean(): void {
    this.#dirty = false;
  }

  markDirty(): void {
    if (!this.#dirty) this.#changed();
  }

  get invocations(): number {
    return this.scalars[INVOCATIONS]!;
  }

  get coldStarts(): number {
    return this.scalars[COLD_STARTS]!;
  }

  /** How many calls have a duration, and its sum. */
  get timed(): { count: number; sumSeconds: number } {
    return { count: this.scalars[TIMED]!, sumSeconds: this.scalars[DURATION_US]! / 1e6 };
  }

  get gbSeconds(): number {
    return this.scalars[GB_SECONDS]!;
  }

  /** Milliseconds since 1970; 0 before the first call. */
  get lastInvocationMs(): number {
    return this.scalars[LAST_AT_MS]!;
  }

  /** Codes that were counted, and how often. */
  errorsByCode(): Record<string, number> {
    const counted: Record<string, number> = {};
    ERROR_CODES.forEach((code, slot) => {
      if (this.errors[slot]! > 0) counted[code] = this.errors[slot]!;
    });
    return counted;
  }

  snapshot(live: LiveFigures, prices: Prices = DEFAULT_PRICES): FunctionMetrics {
    const { count, sumSeconds } = this.timed;
    const errors = this.errorsByCode();
    let failures = 0;
    for (const [code, times] of Object.entries(errors)) if (isFunctionFailure(code)) failures += times;
    return {
      invocations: this.invocations,
      coldStarts: this.coldStarts,
      avgDuration: ratio(sumSeconds, count),
      errorRate: ratio(failures, this.invocations),
      costEstimate: this.gbSeconds * prices.perGbSecond + this.invocations * prices.perInvocation,
      p50: quantileSeconds(this.durations, 0.5),
      p95: quantileSeconds(this.durations, 0.95),
      p99: quantileSeconds(this.durations, 0.99),
      coldStartAvg: ratio(this.scalars[COLD_START_US]! / 1e6, this.coldStarts),
      inFlight: live.inFlight,
      replicas: live.replicas,
      lastInvocation: this.lastInvocationMs === 0 ? null : new Date(this.lastInvocationMs).toISOString(),
      errors,
    };
  }

  #changed(): void {
    this.#dirty = true;
    this.#onChange(this);
  }
}

/** Metrics of a function that was never called. */
export function emptyMetrics(live: LiveFigures): FunctionMetrics {
  return {
    invocations: 0,
    coldStarts: 0,
    avgDuration: 0,
    errorRate: 0,
    costEstimate: 0,
    p50: 0,
    p95: 0,
    p99: 0,
    coldStartAvg: 0,
    inFlight: live.inFlight,
    replicas: live.replicas,
    lastInvocation: null,
    errors: {},
  };
}

function ratio(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}
