import type { Clock, Timer } from "../clock.ts";

/** Something that must end by a time. */
export interface Deadlined {
  /** On the monotonic clock. */
  readonly deadlineMs: number;
}

/** One timer for many deadlines, armed for the earliest: a timer a call would cost more than the call's frames. */
export class DeadlineTimer<Value extends Deadlined> {
  readonly #clock: Clock;
  readonly #list: () => readonly Value[];
  readonly #onDue: (value: Value) => void;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  /** @param list what has a deadline just now */
  constructor(clock: Clock, list: () => readonly Value[], onDue: (value: Value) => void) {
    this.#clock = clock;
    this.#list = list;
    this.#onDue = onDue;
  }

  /** hot: an entry has this deadline from now on. */
  note(deadlineMs: number, nowMs: number): void {
    if (deadlineMs < this.#atMs) this.#arm(deadlineMs, nowMs);
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#atMs = Number.POSITIVE_INFINITY;
  }

  #arm(atMs: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#atMs = atMs;
    this.#timer = this.#clock.setTimer(atMs - nowMs, () => this.#check());
  }

  #check(): void {
    this.cancel();
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const value of this.#list()) {
      // A timer may fire up to a millisecond early.
      if (value.deadlineMs <= nowMs + 1) this.#onDue(value);
      else if (value.deadlineMs < nextMs) nextMs = value.deadlineMs;
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.note(nextMs, nowMs);
  }
}
