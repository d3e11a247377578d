import type { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { Dispensable } from "../instances/port.ts";
import type { Dispatcher } from "./dispatcher.ts";

/** The scaler looks at every active function so often. */
const TICK_MS = 1000;
/** While draining, the end of the last call is noticed within this time. */
const SETTLE_CHECK_MS = 10;

/** Where the fleet finds its dispatchers. */
export interface Dispatchers {
  /** Dispatchers that exist: of functions that were called or keep replicas. */
  list(): Iterable<Dispatcher>;
}

/** All functions' dispatchers together: the scaler's beat, and who gives way when the machine is full. */
export class Fleet {
  readonly #clock: Clock;
  readonly #dispatchers: Dispatchers;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(clock: Clock, dispatchers: Dispatchers) {
    this.#clock = clock;
    this.#dispatchers = dispatchers;
  }

  start(): void {
    this.#timer = this.#clock.setTimer(TICK_MS, () => {
      this.tick();
      if (!this.#stopped) this.start();
    });
  }

  /** One decision for each active function. */
  tick(): void {
    for (const dispatcher of this.#dispatchers.list()) if (dispatcher.active) dispatcher.evaluate();
  }

  /** Idle replicas, of the function that was idle longest first. */
  *idleReplicas(): Generator<Dispensable> {
    const byAge = [...this.#dispatchers.list()]
      .filter((dispatcher) => dispatcher.replicas > 0)
      .sort((a, b) => a.lastActiveMs - b.lastActiveMs);
    for (const dispatcher of byAge) yield* dispatcher.idleReplicas();
  }

  /** That run or wait, of all functions. */
  get calls(): number {
    let calls = 0;
    for (const { inFlight, queued } of this.#dispatchers.list()) calls += inFlight + queued;
    return calls;
  }

  /** Resolves when no call runs or waits any more, or at the deadline. */
  async settle(deadlineMs: number): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + deadlineMs;
    while (this.calls > 0 && this.#clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => this.#clock.setTimer(SETTLE_CHECK_MS, resolve));
    }
  }

  /** Answers every call that still waits for a place. */
  rejectQueued(error: KsError): void {
    for (const dispatcher of this.#dispatchers.list()) dispatcher.rejectQueued(error);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }
}
