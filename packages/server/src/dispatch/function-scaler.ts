import type { Clock } from "../clock.ts";
import { ConcurrencyWindow } from "../scaling/concurrency-window.ts";
import {
  decidePoke,
  decideReplicas,
  DEFAULT_SCALING_POLICY,
  INITIAL_SCALE_STATE,
  type PokeInput,
  type ScaleDecision,
  type ScaleInput,
  type ScaleState,
  type ScalingPolicy,
} from "../scaling/decide.ts";
import { ScalingHistory, type ScalingRecord } from "../scaling/history.ts";

export function compileScalingPolicy(idleTimeoutMs: number): ScalingPolicy {
  return { ...DEFAULT_SCALING_POLICY, idleTimeoutMs };
}

const NO_LOAD = { stable: 0, panic: 0, peak: 0 };

/** What the scaler remembers of one function: its load, its state, and why its replicas are as many as they are. */
export class FunctionScaler {
  readonly #clock: Clock;
  readonly #policy: ScalingPolicy;
  readonly #history = new ScalingHistory();
  #window: ConcurrencyWindow | undefined;
  #state: ScaleState = INITIAL_SCALE_STATE;
  /** When the last call, or the last wait for a place, ended; on the monotonic clock. */
  lastActiveMs: number;

  constructor(clock: Clock, policy: ScalingPolicy) {
    this.#clock = clock;
    this.#policy = policy;
    this.lastActiveMs = clock.monotonicMs();
  }

  /** hot: calls running and queued from now on. */
  noteLoad(calls: number, nowMs: number): void {
    this.#window ??= new ConcurrencyWindow(nowMs);
    this.#window.record(calls, nowMs);
  }

  /** The function is idle and has no replica: its window may go. */
  forgetLoad(): void {
    this.#window = undefined;
  }

  decide(input: Omit<ScaleInput, "load" | "lastActiveMs" | "state">): ScaleDecision {
    const nowMs = this.#clock.monotonicMs();
    const load = this.#window?.summarise(nowMs) ?? NO_LOAD;
    const decision = decideReplicas({ ...input, load, lastActiveMs: this.lastActiveMs, state: this.#state }, nowMs, this.#policy);
    this.#state = decision.state;
    return decision;
  }

  decidePoke(input: PokeInput): { desired: number; reason: ScalingRecord["reason"] } {
    return decidePoke(input, this.#policy);
  }

  record(change: Pick<ScalingRecord, "from" | "to" | "reason" | "inFlight" | "queued">, decision: ScaleDecision | undefined): void {
    this.#history.add({
      time: new Date(this.#clock.nowMs()).toISOString(),
      ...change,
      ...(decision === undefined ? {} : describe(decision)),
    });
  }

  decisions(): ScalingRecord[] {
    return this.#history.list();
  }
}

function describe({ wanted, stableConcurrency, panicConcurrency, peakConcurrency, targetPerReplica, panic }: ScaleDecision) {
  return { wanted, stableConcurrency, panicConcurrency, peakConcurrency, targetPerReplica, panic };
}
