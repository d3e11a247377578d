import type { Clock } from "../../clock.ts";

/**
 * Queues that were created a moment ago. RabbitMQ 3.10 writes down that a quorum queue has a member here only about a second
 * later: killed before, it has forgotten what it confirmed in that queue, which has no leader from then on.
 */
export class NewQueues {
  readonly #clock: Clock;
  readonly #settleMs: number;
  readonly #settling = new Map<string, Promise<void>>();

  constructor(clock: Clock, settleMs: number) {
    this.#clock = clock;
    this.#settleMs = settleMs;
  }

  noteCreated(queue: string): void {
    if (this.#settleMs === 0) return;
    const settled = new Promise<void>((resolve) => this.#clock.setTimer(this.#settleMs, resolve));
    this.#settling.set(queue, settled);
    void settled.then(() => this.#settling.delete(queue));
  }

  /** Resolves once a message that the queue confirms is safe; undefined when that is so already. */
  settled(queue: string): Promise<void> | undefined {
    return this.#settling.get(queue);
  }
}
