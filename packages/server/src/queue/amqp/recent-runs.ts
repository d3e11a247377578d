import type { DeliveryOutcome } from "../port.ts";

/** A message's way through its handler, which outlives the channel it came by. */
export interface MessageRun {
  readonly attempt: number;
  readonly firstFailedAtMs: number | undefined;
  readonly outcome: Promise<DeliveryOutcome>;
  /** The copy that replaces the message is safe; all that is left to do is to ack the original. */
  copied: boolean;
}

const KEPT = 1_000;

/**
 * Remembers runs by publication. When a connection breaks, RabbitMQ delivers again what was not acked, or whose ack was
 * lost on the way; a run that this process still has, or has just had, is joined instead of being repeated.
 */
export class RecentRuns {
  readonly #runs = new Map<string, MessageRun>();

  remember(publication: string | undefined, run: MessageRun): void {
    if (publication === undefined) return;
    this.#runs.delete(publication);
    this.#runs.set(publication, run);
    if (this.#runs.size <= KEPT) return;
    const [oldest] = this.#runs.keys();
    this.#runs.delete(oldest as string);
  }

  find(publication: string | undefined): MessageRun | undefined {
    return publication === undefined ? undefined : this.#runs.get(publication);
  }
}
