import { type LoadSummary, STABLE_WINDOW_MS } from "./concurrency-window.ts";

/** How eagerly functions are scaled; the same for all. */
export interface ScalingPolicy {
  /** Part of a replica's `concurrency` that is aimed at, so that a burst finds free places. */
  targetUtilization: number;
  /** From the end of the last call to zero. */
  idleTimeoutMs: number;
  /** Panic begins when the panic window alone would need so many times the ready replicas. */
  panicThreshold: number;
  /** Panic ends so long after it was last seen. */
  panicHoldMs: number;
  /** One decision at most multiplies the replicas by this … */
  maxUpFactor: number;
  /** … or adds this many, whichever is more. */
  maxUpStep: number;
  /** One step down at most divides the replicas by this … */
  maxDownFactor: number;
  /** … and steps down are so far apart. */
  downIntervalMs: number;
  /** Part of all cores from which a function counts as bound by them. */
  cpuBoundFrom: number;
}

export const DEFAULT_SCALING_POLICY: Readonly<ScalingPolicy> = {
  targetUtilization: 0.7,
  idleTimeoutMs: 60_000,
  panicThreshold: 2,
  panicHoldMs: STABLE_WINDOW_MS,
  maxUpFactor: 2,
  maxUpStep: 8,
  maxDownFactor: 2,
  downIntervalMs: 10_000,
  cpuBoundFrom: 0.8,
};

/** CPU that all replicas of the function take together, and what the machine has. */
export interface CpuUse {
  usedCores: number;
  cores: number;
}

/** What one decision hands to the next. */
export interface ScaleState {
  /** Panic lasts until then; 0 when there is none. */
  panicUntilMs: number;
  /** When replicas were last taken away. */
  lastDownMs: number;
}

export const INITIAL_SCALE_STATE: Readonly<ScaleState> = { panicUntilMs: 0, lastDownMs: Number.NEGATIVE_INFINITY };

interface Bounds {
  /** Replicas that accept new calls: starting and ready, not draining. */
  replicas: number;
  minReplicas: number;
  maxReplicas: number;
  /** Calls at once in one replica. */
  concurrency: number;
  /** Absent where nothing measures it. */
  cpu?: CpuUse;
}

export interface ScaleInput extends Bounds {
  readyReplicas: number;
  inFlight: number;
  queued: number;
  /** Of `ConcurrencyWindow`, over calls in flight and queued. */
  load: LoadSummary;
  /** When the last call, or the last wait for a place, ended. */
  lastActiveMs: number;
  state: ScaleState;
}

/** Why the replicas are as many as they are: the rule that had the last word. */
export type ScaleReason =
  | "load"
  | "panic"
  | "idle"
  | "gave-way"
  | "keep-warm"
  | "hold"
  | "min-replicas"
  | "max-replicas"
  | "up-rate"
  | "down-rate"
  | "cpu-bound"
  | "no-free-slot"
  | "slots-coming"
  | "queue-drains-sooner";

export interface ScaleDecision {
  desired: number;
  reason: ScaleReason;
  /** What the load alone asks for, before every limit. */
  wanted: number;
  stableConcurrency: number;
  panicConcurrency: number;
  peakConcurrency: number;
  /** Calls at once that one replica is given before another is wanted. */
  targetPerReplica: number;
  panic: boolean;
  state: ScaleState;
}

interface Verdict {
  replicas: number;
  reason: ScaleReason;
}

/**
 * How many replicas a function should have now. Up by the mean of the last minute, or, when a burst comes, by that of
 * the last six seconds; down only to what the busiest second of the last minute needs, in steps; to nothing when idle.
 */
export function decideReplicas(input: ScaleInput, nowMs: number, policy: ScalingPolicy = DEFAULT_SCALING_POLICY): ScaleDecision {
  const targetPerReplica = input.concurrency * policy.targetUtilization;
  const byPanic = replicasFor(input.load.panic, targetPerReplica);
  const panicUntilMs = decidePanicEnd(input, byPanic, nowMs, policy);
  const idle = isIdle(input, nowMs, policy);
  const panic = !idle && panicUntilMs > nowMs;
  const wanted = Math.max(replicasFor(input.load.stable, targetPerReplica), panic ? byPanic : 0);

  const unlimited = idle ? decideIdle(input) : decideByLoad(input, wanted, panic, targetPerReplica, nowMs, policy);
  const { replicas: desired, reason } = limit(unlimited, input, policy);
  return {
    desired,
    reason,
    wanted,
    stableConcurrency: input.load.stable,
    panicConcurrency: input.load.panic,
    peakConcurrency: input.load.peak,
    targetPerReplica,
    panic,
    state: { panicUntilMs: panic ? panicUntilMs : 0, lastDownMs: desired < input.replicas ? nowMs : input.state.lastDownMs },
  };
}

export interface PokeInput extends Bounds {
  /** Of `replicas`, those that are not ready yet. */
  starting: number;
  /** Places on ready replicas. */
  freeSlots: number;
  /** Calls that wait for a place, the new one included. */
  queued: number;
  /** Usual time of a call and of a start, where both are known. */
  callMs?: number;
  startMs?: number;
}

export interface PokeDecision {
  desired: number;
  reason: ScaleReason;
  /** Places that starting and ready replicas will offer. */
  slotsComing: number;
}

/**
 * Whether a call that found no free slot needs another replica at once. Replicas under way count with all their
 * places, so many calls that come together start only what they need: from zero, 25 calls at concurrency 10 start 3.
 */
export function decidePoke(input: PokeInput, policy: ScalingPolicy = DEFAULT_SCALING_POLICY): PokeDecision {
  const slotsComing = input.freeSlots + input.starting * input.concurrency;
  const missing = input.queued - slotsComing;
  if (missing <= 0) return { desired: input.replicas, reason: "slots-coming", slotsComing };
  if (drainsBeforeStart(input)) return { desired: input.replicas, reason: "queue-drains-sooner", slotsComing };
  const unlimited: Verdict = { replicas: input.replicas + Math.ceil(missing / input.concurrency), reason: "no-free-slot" };
  const { replicas, reason } = limit(unlimited, input, policy);
  // A poke only ever adds: what is too much goes with the next decision.
  return { desired: Math.max(replicas, input.replicas), reason, slotsComing };
}

function replicasFor(concurrency: number, targetPerReplica: number): number {
  // Sums of fractions may end a hair above a whole number, which must not cost a replica.
  return Math.ceil(concurrency / targetPerReplica - 1e-9);
}

/** A burst panics when the last six seconds alone need twice the ready replicas; 0 → 1 is no burst. */
function decidePanicEnd(input: ScaleInput, byPanic: number, nowMs: number, policy: ScalingPolicy): number {
  const isBurst = byPanic > 1 && byPanic >= policy.panicThreshold * Math.max(1, input.readyReplicas);
  return isBurst ? nowMs + policy.panicHoldMs : input.state.panicUntilMs;
}

function isIdle(input: ScaleInput, nowMs: number, policy: ScalingPolicy): boolean {
  return input.inFlight + input.queued === 0 && nowMs - input.lastActiveMs >= policy.idleTimeoutMs;
}

/** Nobody is served, so all may go at once. */
function decideIdle(input: ScaleInput): Verdict {
  return { replicas: Math.min(input.replicas, input.minReplicas), reason: "idle" };
}

function decideByLoad(
  input: ScaleInput,
  wanted: number,
  panic: boolean,
  targetPerReplica: number,
  nowMs: number,
  policy: ScalingPolicy,
): Verdict {
  if (wanted > input.replicas) return { replicas: wanted, reason: panic ? "panic" : "load" };
  if (panic) return { replicas: input.replicas, reason: "panic" };
  return decideDown(input, wanted, targetPerReplica, nowMs, policy);
}

function decideDown(input: ScaleInput, wanted: number, targetPerReplica: number, nowMs: number, policy: ScalingPolicy): Verdict {
  const current = input.replicas;
  // What runs now must keep its places, and the busiest second of the last minute may come again.
  const held = Math.max(
    wanted,
    replicasFor(input.load.peak, targetPerReplica),
    Math.ceil((input.inFlight + input.queued) / input.concurrency),
  );
  const floor = Math.max(held, 1);
  if (current === 0) return { replicas: held, reason: held > 0 ? "load" : "idle" };
  if (floor >= current) return { replicas: current, reason: held === 0 ? "keep-warm" : held > wanted ? "hold" : "load" };
  if (nowMs - input.state.lastDownMs < policy.downIntervalMs) return { replicas: current, reason: "down-rate" };
  const step = Math.ceil(current / policy.maxDownFactor);
  return step > floor ? { replicas: step, reason: "down-rate" } : { replicas: floor, reason: held === 0 ? "keep-warm" : "load" };
}

function limit(verdict: Verdict, input: Bounds, policy: ScalingPolicy): Verdict {
  let { replicas, reason } = verdict;
  const current = input.replicas;
  const byRate = Math.max(Math.ceil(current * policy.maxUpFactor), current + policy.maxUpStep);
  if (replicas > byRate) [replicas, reason] = [byRate, "up-rate"];
  const byCpu = cpuCeiling(input, policy);
  if (replicas > byCpu) [replicas, reason] = [byCpu, "cpu-bound"];
  if (replicas < input.minReplicas) [replicas, reason] = [input.minReplicas, "min-replicas"];
  if (replicas > input.maxReplicas) [replicas, reason] = [input.maxReplicas, "max-replicas"];
  return { replicas, reason };
}

/**
 * A function that already takes nearly all cores gains nothing from more replicas than cores and one.
 * It stops growth and takes nothing away, so that a moment of calm does not start it all again.
 */
function cpuCeiling(input: Bounds, policy: ScalingPolicy): number {
  const { cpu } = input;
  if (cpu === undefined || cpu.usedCores < policy.cpuBoundFrom * cpu.cores) return Number.POSITIVE_INFINITY;
  return Math.max(input.replicas, Math.ceil(cpu.cores) + 1);
}

/** 20 waiting calls of 2 ms on 4 slots are done in 10 ms; a start that takes 40 ms would come too late. */
function drainsBeforeStart(input: PokeInput): boolean {
  const readySlots = (input.replicas - input.starting) * input.concurrency;
  if (input.callMs === undefined || input.startMs === undefined || readySlots === 0) return false;
  return (input.queued * input.callMs) / readySlots < input.startMs;
}
