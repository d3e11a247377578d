import type { Clock, Timer } from "../clock.ts";

/** One timer that only moves nearer: of all the ends that were asked for, the soonest holds. */
export class SoonestTimer {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Does nothing when a sooner end was asked for already. */
  set(delayMs: number, fire: () => void): void {
    const atMs = this.#clock.monotonicMs() + delayMs;
    if (atMs >= this.#atMs) return;
    this.#atMs = atMs;
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(delayMs, fire);
  }

  cancel(): void {
    this.#timer?.cancel();
  }
}
