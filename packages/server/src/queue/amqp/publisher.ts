import { randomUUID } from "node:crypto";
import { KsError } from "@kube-serverless/contracts";
import type { ChannelModel, ConfirmChannel } from "amqplib";
import type { Clock } from "../../clock.ts";
import { withLimit } from "../delivery-runs.ts";
import type { AmqpLink } from "./link.ts";
import { PUBLICATION, type PublishProperties } from "./message.ts";
import type { NewQueues } from "./new-queues.ts";

/** A restarting broker is back sooner, and a caller's patience ends later. */
const CONNECTION_WAIT_MS = 2_000;

/** Far below RabbitMQ's 2,047 channels a connection. */
const MAX_LANES = 500;

export interface OutgoingMessage {
  queue: string;
  body: Buffer;
  properties: PublishProperties;
}

/** A channel for the messages of one queue. */
interface Lane {
  readonly model: ChannelModel;
  readonly opened: Promise<ConfirmChannel>;
  unconfirmed: number;
  /** Until then it takes nothing, as a confirm is overdue. */
  closedUntilMs: number;
}

/**
 * Publishes to queues and knows what became of each message. Each queue has a channel of its own: one that has lost its
 * leader holds up the channel of whoever publishes to it, and after some hundred messages the whole connection.
 */
export class ConfirmPublisher {
  readonly #link: AmqpLink;
  readonly #clock: Clock;
  readonly #confirmLimitMs: number;
  readonly #newQueues: NewQueues;
  /** Least recently used first. */
  readonly #lanes = new Map<string, Lane>();
  /** Publications that RabbitMQ returned, having no queue for them; their confirms follow. */
  readonly #returned = new Set<string>();

  constructor(link: AmqpLink, clock: Clock, confirmLimitMs: number, newQueues: NewQueues) {
    this.#newQueues = newQueues;
    this.#link = link;
    this.#clock = clock;
    this.#confirmLimitMs = confirmLimitMs;
  }

  /**
   * Resolves when the broker has the message safe in its queue.
   * @throws KsError `QUEUE_NOT_FOUND`, or `STORE_UNAVAILABLE`, after which the message may or may not be there.
   */
  async publish(message: OutgoingMessage): Promise<void> {
    const model = await this.#link.waitForModel(CONNECTION_WAIT_MS);
    if (model === undefined) throw unavailable(`RabbitMQ is away (${this.#link.lastError}); try again later`);
    if (this.#link.blockedBy !== undefined) throw unavailable(`RabbitMQ takes no messages: ${this.#link.blockedBy}`);
    await this.#newQueues.settled(message.queue);
    const lane = this.#laneOf(model, message.queue);
    if (this.#clock.monotonicMs() < lane.closedUntilMs) throw unavailable(`RabbitMQ does not confirm messages to ${message.queue}`);
    const late = (): never => {
      lane.closedUntilMs = this.#clock.monotonicMs() + this.#confirmLimitMs;
      throw unavailable(`RabbitMQ did not confirm the message within ${this.#confirmLimitMs} ms; it may be stored all the same`);
    };
    await withLimit(this.#clock, this.#confirmLimitMs, this.#send(lane, message), late);
  }

  async #send(lane: Lane, message: OutgoingMessage): Promise<void> {
    const publication = randomUUID();
    lane.unconfirmed += 1;
    try {
      const channel = await lane.opened;
      await new Promise<void>((resolve, reject) => {
        const headers = { ...message.properties.headers, [PUBLICATION]: publication };
        // Without `mandatory` RabbitMQ confirms a message to a queue that is not there, and drops it.
        const options = { ...message.properties, headers, mandatory: true, persistent: true };
        channel.publish("", message.queue, message.body, options, (error) => (error ? reject(error as Error) : resolve()));
      });
      lane.closedUntilMs = 0;
    } catch (error) {
      throw unavailable(`RabbitMQ did not take the message: ${(error as Error).message}`, error);
    } finally {
      lane.unconfirmed -= 1;
    }
    if (this.#returned.delete(publication)) throw new KsError("QUEUE_NOT_FOUND", { message: `Queue not found: ${message.queue}` });
  }

  /** Opened at a queue's first message, and anew after it closed. */
  #laneOf(model: ChannelModel, queue: string): Lane {
    const known = this.#lanes.get(queue);
    const lane = known?.model === model ? known : this.#openLane(model, queue);
    this.#lanes.delete(queue);
    this.#lanes.set(queue, lane);
    return lane;
  }

  #openLane(model: ChannelModel, queue: string): Lane {
    if (this.#lanes.size >= MAX_LANES) this.#closeIdleLane();
    const lane: Lane = { model, opened: model.createConfirmChannel(), unconfirmed: 0, closedUntilMs: 0 };
    const drop = (): void => {
      if (this.#lanes.get(queue) === lane) this.#lanes.delete(queue);
    };
    lane.opened.then((channel) => {
      // The confirms that are open are rejected by `close`; `error` only has to have a listener.
      channel.on("error", () => {});
      channel.on("close", drop);
      channel.on("return", ({ properties }) => this.#returned.add(String(properties.headers?.[PUBLICATION])));
    }, drop);
    return lane;
  }

  #closeIdleLane(): void {
    for (const [queue, lane] of this.#lanes) {
      if (lane.unconfirmed > 0) continue;
      this.#lanes.delete(queue);
      lane.opened.then((channel) => channel.close()).catch(() => {});
      return;
    }
  }
}

function unavailable(message: string, cause?: unknown): KsError {
  return new KsError("STORE_UNAVAILABLE", { message, retryAfterMs: 5_000, cause });
}
