import { KsError } from "@kube-serverless/contracts";
import type { ChannelModel, ConfirmChannel, Message, Options } from "amqplib";
import type { Clock } from "../../clock.ts";
import { withLimit } from "../delivery-runs.ts";
import type { AmqpLink } from "./link.ts";

/** A restarting broker is back sooner, and a caller's patience ends later. */
const CONNECTION_WAIT_MS = 2_000;

interface Pending {
  returned: boolean;
}

export interface OutgoingMessage {
  queue: string;
  body: Buffer;
  /** With `messageId`, by which a returned message is recognised. */
  properties: Options.Publish & { messageId: string };
}

/** Publishes to queues and knows what became of each message. */
export class ConfirmPublisher {
  readonly #link: AmqpLink;
  readonly #clock: Clock;
  readonly #confirmLimitMs: number;
  readonly #pending = new Map<string, Set<Pending>>();
  #channel: { model: ChannelModel; opened: Promise<ConfirmChannel> } | undefined;

  constructor(link: AmqpLink, clock: Clock, confirmLimitMs: number) {
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
    const late = (): never => {
      throw unavailable(`RabbitMQ did not confirm the message within ${this.#confirmLimitMs} ms; it may be stored all the same`);
    };
    await withLimit(this.#clock, this.#confirmLimitMs, this.#send(model, message), late);
  }

  async #send(model: ChannelModel, message: OutgoingMessage): Promise<void> {
    const key = pendingKey(message.queue, message.properties.messageId);
    const pending: Pending = { returned: false };
    try {
      const channel = await this.#openChannel(model);
      this.#remember(key, pending);
      await new Promise<void>((resolve, reject) => {
        // Without `mandatory` RabbitMQ confirms a message to a queue that is not there, and drops it.
        const options = { ...message.properties, mandatory: true, persistent: true };
        channel.publish("", message.queue, message.body, options, (error) => (error ? reject(error as Error) : resolve()));
      });
    } catch (error) {
      throw unavailable(`RabbitMQ did not take the message: ${(error as Error).message}`, error);
    } finally {
      this.#forget(key, pending);
    }
    if (pending.returned) throw new KsError("QUEUE_NOT_FOUND", { message: `Queue not found: ${message.queue}` });
  }

  /** Single-flight; a channel that closed is replaced at the next message. */
  #openChannel(model: ChannelModel): Promise<ConfirmChannel> {
    if (this.#channel?.model === model) return this.#channel.opened;
    const slot = { model, opened: model.createConfirmChannel() };
    const drop = (): void => {
      if (this.#channel === slot) this.#channel = undefined;
    };
    this.#channel = slot;
    slot.opened.then((channel) => {
      // The confirms that are open are rejected by `close`; `error` only has to have a listener.
      channel.on("error", () => {});
      channel.on("close", drop);
      channel.on("return", (returned) => this.#markReturned(returned));
    }, drop);
    return slot.opened;
  }

  /** RabbitMQ sends the return of a message before its confirm. */
  #markReturned(message: Message): void {
    const key = pendingKey(message.fields.routingKey, String(message.properties.messageId));
    for (const pending of this.#pending.get(key) ?? []) pending.returned = true;
  }

  #remember(key: string, pending: Pending): void {
    const same = this.#pending.get(key) ?? new Set();
    this.#pending.set(key, same.add(pending));
  }

  #forget(key: string, pending: Pending): void {
    const same = this.#pending.get(key);
    same?.delete(pending);
    if (same?.size === 0) this.#pending.delete(key);
  }
}

function pendingKey(queue: string, messageId: string): string {
  return `${queue}\n${messageId}`;
}

function unavailable(message: string, cause?: unknown): KsError {
  return new KsError("STORE_UNAVAILABLE", { message, retryAfterMs: 5_000, cause });
}
