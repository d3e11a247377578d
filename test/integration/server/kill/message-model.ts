import assert from "node:assert/strict";
import type { Client } from "../support/client.ts";

export const QUEUE = "work";
export const MAX_ATTEMPTS = 3;
/** Every so many messages one that fails whenever it is tried. */
const POISON_EVERY = 8;

/** What the consuming function tells of each delivery. */
export interface Delivered {
  kind: "delivered";
  number: number;
  messageId: string;
  attempt: number;
}

/** What the function that consumes the dead letters tells. */
export interface Buried {
  kind: "buried";
  number: number;
}

/** The messages that were published, and those of them that were acknowledged. */
export class MessageModel {
  readonly #accepted = new Map<number, string>();
  #published = 0;

  get accepted(): number {
    return this.#accepted.size;
  }

  /** Publishes one; throws TypeError when the server is gone. */
  async publish(client: Client): Promise<void> {
    const number = ++this.#published;
    const { status, json, text } = await client.publish(QUEUE, { number, isPoison: isPoison(number) });
    assert.equal(status, 202, text);
    this.#accepted.set(number, json.messageId);
  }

  /** Nothing that was acknowledged and not done is missing in the counts, which were read before `events`. */
  checkCounts(counts: { ready: number; unacked: number; dead: number }, events: readonly object[]): void {
    const done = new Set(deliveries(events).map(({ number }) => number));
    const open = [...this.#accepted.keys()].filter((number) => isPoison(number) || !done.has(number)).length;
    const there = counts.ready + counts.unacked + counts.dead;
    assert.ok(open <= there, `${open} accepted messages are not done, but the queue has ${JSON.stringify(counts)}`);
  }

  /** When nothing waits any more: accepted = done + dead. */
  checkEnd(events: readonly object[]): void {
    const delivered = deliveries(events);
    const done = new Set(delivered.filter(({ number }) => !isPoison(number)).map(({ number }) => number));
    const dead = new Set(events.filter((event): event is Buried => (event as Buried).kind === "buried").map(({ number }) => number));
    const missing = [...this.#accepted.keys()].filter((number) => !done.has(number) && !dead.has(number));
    assert.deepEqual(missing, [], "accepted, and neither done nor dead");
    const unexpected = [...done, ...dead].filter((number) => number > this.#published);
    assert.deepEqual(unexpected, [], "never published");
    for (const { number, messageId, attempt } of delivered) {
      assert.ok(attempt >= 1 && attempt <= MAX_ATTEMPTS, `message ${number} has attempt ${attempt}`);
      assert.equal(messageId, this.#accepted.get(number) ?? messageId, `message ${number} changed its id`);
    }
  }
}

function isPoison(number: number): boolean {
  return number % POISON_EVERY === 0;
}

function deliveries(events: readonly object[]): Delivered[] {
  return events.filter((event): event is Delivered => (event as Delivered).kind === "delivered");
}
