import type { ScaleReason } from "./decide.ts";

/** One change of a function's replicas, as `GET …/scaling` shows it. */
export interface ScalingRecord {
  /** ISO 8601. */
  time: string;
  from: number;
  to: number;
  reason: ScaleReason;
  inFlight: number;
  queued: number;
  /** What the load alone asked for. */
  wanted?: number;
  stableConcurrency?: number;
  panicConcurrency?: number;
  peakConcurrency?: number;
  targetPerReplica?: number;
  panic?: boolean;
  /** Of a poke: places that were under way. */
  slotsComing?: number;
}

/** Body of `GET …/scaling`. */
export interface ScalingView {
  replicas: number;
  desired: number;
  min: number;
  max: number;
  inFlight: number;
  queued: number;
  /** Oldest first. */
  decisions: ScalingRecord[];
}

const MAX_RECORDS = 50;

/** The last decisions that changed something. */
export class ScalingHistory {
  readonly #records: ScalingRecord[] = [];

  add(record: ScalingRecord): void {
    if (this.#records.length === MAX_RECORDS) this.#records.shift();
    this.#records.push(record);
  }

  /** Oldest first. */
  list(): ScalingRecord[] {
    return [...this.#records];
  }
}
