import type { Clock } from "../clock.ts";
import { failpoint } from "../failpoint.ts";
import type { DeliveryOutcome } from "./port.ts";

interface Run {
  abort: AbortController;
  done: Promise<void>;
}

/** The deliveries that a consumer has in flight: runs their handlers, and gives back what is left when it stops. */
export class DeliveryRuns {
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  readonly #runs = new Set<Run>();

  /** `onEnd` is called after each run, when its place is free. */
  constructor(clock: Clock, onEnd: () => void = () => {}) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#runs.size;
  }

  /** Runs `handle` and then `settle`, which must not reject, with its outcome; a throw counts as failure, and a run that is given back ends as `release`. */
  start(handle: (signal: AbortSignal) => Promise<DeliveryOutcome>, settle: (outcome: DeliveryOutcome) => Promise<void>): void {
    const abort = new AbortController();
    const run: Run = { abort, done: this.#run(handle, settle, abort.signal) };
    this.#runs.add(run);
    run.done = run.done.finally(() => {
      this.#runs.delete(run);
      this.#onEnd();
    });
  }

  /** Resolves when nothing is in flight; at the deadline what is left is released, and `graceMs` is its time to be settled. */
  async drain(deadlineMs: number, graceMs: number): Promise<void> {
    if (await this.#settled(deadlineMs)) return;
    for (const run of this.#runs) run.abort.abort();
    await this.#settled(graceMs);
  }

  async #run(
    handle: (signal: AbortSignal) => Promise<DeliveryOutcome>,
    settle: (outcome: DeliveryOutcome) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const outcome = await this.#outcome(handle, signal);
    failpoint("queue.before-settle");
    await settle(outcome);
    failpoint("queue.after-settle");
  }

  async #outcome(handle: (signal: AbortSignal) => Promise<DeliveryOutcome>, signal: AbortSignal): Promise<DeliveryOutcome> {
    const aborted = new Promise<DeliveryOutcome>((resolve) => {
      signal.addEventListener("abort", () => resolve({ kind: "release" }), { once: true });
    });
    try {
      return await Promise.race([aborted, handle(signal)]);
    } catch (error) {
      return { kind: "fail", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  /** True when everything in flight ended within the limit. */
  async #settled(limitMs: number): Promise<boolean> {
    if (this.#runs.size === 0) return true;
    const all = Promise.allSettled([...this.#runs].map((run) => run.done)).then(() => true);
    return await withLimit(this.#clock, limitMs, all, () => false);
  }
}

/** The work's result, or what `late` gives (or throws) once the limit has passed; the work itself goes on. */
export async function withLimit<T, L>(clock: Clock, limitMs: number, work: Promise<T>, late: () => L): Promise<T | L> {
  const { promise, resolve } = Promise.withResolvers<"late">();
  const timer = clock.setTimer(limitMs, () => resolve("late"));
  try {
    const first = await Promise.race([work.then((value) => ({ value })), promise]);
    return first === "late" ? late() : first.value;
  } finally {
    timer.cancel();
  }
}
