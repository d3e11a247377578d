import type { Channel, ChannelModel, Options } from "amqplib";
import type { Clock } from "../../clock.ts";
import type { Subscription } from "../port.ts";
import { deadQueueOf } from "../retry.ts";
import type { NewQueues } from "./new-queues.ts";

const NOT_FOUND = 404;
const ABSENCE_REMEMBERED_MS = 30_000;

/**
 * Far above what `maxAttempts` allows: from RabbitMQ 4 on, a quorum queue drops a message after 20 redeliveries
 * unless it is told otherwise, and dead letters are our decision.
 */
const DELIVERY_LIMIT = 1_000_000;

type QueueBinding = Pick<Subscription, "queue" | "exchange" | "routingKey">;

/** Queue that holds failed messages of `queue` for `delayMs`. */
export function retryQueueOf(queue: string, delayMs: number): string {
  return `${queue}.retry.${delayMs}`;
}

/**
 * Makes queues and exchanges exist on one connection. What is there already is taken as it is, whatever its type:
 * a declaration with other arguments would close the channel, so each is first tried passively on a channel of its own.
 */
export class Topology {
  readonly #model: ChannelModel;
  readonly #clock: Clock;
  readonly #newQueues: NewQueues;
  readonly #ensured = new Map<string, Promise<void>>();
  readonly #absentSinceMs = new Map<string, number>();

  constructor(model: ChannelModel, clock: Clock, newQueues: NewQueues) {
    this.#model = model;
    this.#clock = clock;
    this.#newQueues = newQueues;
  }

  async ensureQueue(binding: QueueBinding): Promise<void> {
    await this.#ensureQuorumQueue(binding.queue, {});
    const { queue, exchange } = binding;
    if (exchange === undefined) return;
    await this.#once(`exchange ${exchange}`, () => this.#ensureExchange(exchange));
    await onThrowAwayChannel(this.#model, (channel) => channel.bindQueue(queue, exchange, binding.routingKey ?? queue));
  }

  /** One queue for each delay: a message waits behind none that waits longer. */
  async ensureRetryQueue(queue: string, delayMs: number): Promise<string> {
    const name = retryQueueOf(queue, delayMs);
    await this.#ensureQuorumQueue(name, {
      "x-message-ttl": delayMs,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": queue,
      // Without these two RabbitMQ moves expired messages without a confirm, and may lose them in a crash.
      "x-dead-letter-strategy": "at-least-once",
      "x-overflow": "reject-publish",
    });
    return name;
  }

  async ensureDeadQueue(queue: string): Promise<string> {
    const name = deadQueueOf(queue);
    await this.#ensureQuorumQueue(name, {});
    return name;
  }

  /** Somebody may have deleted the queue, its retry queues or its dead letters: the next `ensure` looks again. */
  forgetFamily(queue: string): void {
    for (const key of this.#ensured.keys()) {
      if (key === `queue ${queue}` || key.startsWith(`queue ${queue}.`)) this.#ensured.delete(key);
    }
  }

  /** Messages that wait in a queue, undefined when there is no such queue. */
  async count(queue: string): Promise<number | undefined> {
    try {
      return (await onThrowAwayChannel(this.#model, (channel) => channel.checkQueue(queue))).messageCount;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** As `count`, but asks for a queue that was absent only now and then: RabbitMQ logs each such question as an error. */
  async countCompanion(queue: string): Promise<number> {
    const nowMs = this.#clock.monotonicMs();
    const absentSinceMs = this.#absentSinceMs.get(queue);
    if (absentSinceMs !== undefined && nowMs - absentSinceMs < ABSENCE_REMEMBERED_MS) return 0;
    const count = await this.count(queue);
    if (count === undefined) this.#absentSinceMs.set(queue, nowMs);
    return count ?? 0;
  }

  async #ensureQuorumQueue(name: string, args: Record<string, unknown>): Promise<void> {
    await this.#once(`queue ${name}`, async () => {
      if ((await this.count(name)) !== undefined) return;
      const options: Options.AssertQueue = {
        durable: true,
        arguments: { "x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, ...args },
      };
      await onThrowAwayChannel(this.#model, (channel) => channel.assertQueue(name, options));
      this.#newQueues.noteCreated(name);
    });
    this.#absentSinceMs.delete(name);
  }

  async #ensureExchange(exchange: string): Promise<void> {
    try {
      await onThrowAwayChannel(this.#model, (channel) => channel.checkExchange(exchange));
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await onThrowAwayChannel(this.#model, (channel) => channel.assertExchange(exchange, "direct", { durable: true }));
    }
  }

  /** Single-flight, remembered once it succeeded. */
  #once(key: string, make: () => Promise<void>): Promise<void> {
    const known = this.#ensured.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#ensured.set(key, made);
    made.catch(() => this.#ensured.delete(key));
    return made;
  }
}

/** RabbitMQ closes the channel on which a request failed, and with it all that the channel was used for. */
async function onThrowAwayChannel<T>(model: ChannelModel, work: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await model.createChannel();
  channel.on("error", () => {});
  try {
    return await work(channel);
  } finally {
    // Not awaited: a close that crosses the end of the connection is never answered.
    channel.close().catch(() => {});
  }
}

function isNotFound(error: unknown): boolean {
  return (error as { code?: unknown }).code === NOT_FOUND;
}
