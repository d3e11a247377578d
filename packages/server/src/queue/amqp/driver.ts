import { KsError } from "@kube-serverless/contracts";
import type { ChannelModel } from "amqplib";
import { type Clock, systemClock } from "../../clock.ts";
import { withLimit } from "../delivery-runs.ts";
import { checkPublication, isQueueName } from "../limits.ts";
import { type QueueLog, silentLog } from "../log.ts";
import type { Consumer, QueueDriver, QueueMessage, QueueStats, Subscription } from "../port.ts";
import { DEFAULT_RETRY_POLICY, deadQueueOf, retryDelays, type RetryPolicy } from "../retry.ts";
import { AmqpConsumer, type AmqpConsumerContext } from "./consumer.ts";
import { AmqpLink } from "./link.ts";
import { buildProperties } from "./message.ts";
import { ConfirmPublisher } from "./publisher.ts";
import { NewQueues } from "./new-queues.ts";
import { retryQueueOf, Topology } from "./topology.ts";

/** Beyond this many attempts the waits repeat: see `retryDelays`. */
const ATTEMPTS_WITH_ALL_DELAYS = 100;
const RETRY_AFTER_MS = 5_000;
const CONNECTION_WAIT_MS = 2_000;

export interface AmqpQueueOptions {
  /** `amqp://` or `amqps://`, with user, password and virtual host. */
  url: string;
  log?: QueueLog;
  clock?: Clock;
  /** @default 1 s doubling, at most 5 minutes */
  retryPolicy?: RetryPolicy;
  /** How long the broker may take to confirm a message or answer a question. @default 10_000 */
  replyLimitMs?: number;
  /** So long after it was made a queue gets no message of ours. @default 2_000 */
  settleMs?: number;
}

type CompiledOptions = Required<AmqpQueueOptions>;

/** Queues on RabbitMQ; connects in the background. */
export function createAmqpQueues(options: AmqpQueueOptions): QueueDriver {
  return new AmqpQueues({
    log: silentLog,
    clock: systemClock,
    retryPolicy: DEFAULT_RETRY_POLICY,
    replyLimitMs: 10_000,
    settleMs: 2_000,
    ...options,
  });
}

class AmqpQueues implements QueueDriver {
  readonly kind = "rabbitmq";
  readonly #options: CompiledOptions;
  /** Apart from the one that consumes: RabbitMQ stops reading from a connection that publishes while its disk or memory is full, acks included. */
  readonly #publishing: AmqpLink;
  readonly #consuming: AmqpLink;
  readonly #newQueues: NewQueues;
  readonly #publisher: ConfirmPublisher;
  readonly #consumers = new Set<AmqpConsumer>();
  /** Queues that somebody here has asked for. */
  readonly #declared = new Map<string, Pick<Subscription, "queue" | "exchange" | "routingKey">>();
  readonly #topologies = new WeakMap<ChannelModel, Topology>();

  constructor(options: CompiledOptions) {
    const { url, clock, log } = options;
    this.#options = options;
    this.#publishing = new AmqpLink({ url, clock, log, name: "kube-serverless publishing" });
    this.#consuming = new AmqpLink({ url, clock, log, name: "kube-serverless consuming" });
    this.#newQueues = new NewQueues(clock, options.settleMs);
    this.#publisher = new ConfirmPublisher(this.#publishing, clock, options.replyLimitMs, this.#newQueues);
  }

  get connected(): boolean {
    return this.#publishing.model !== undefined && this.#publishing.blockedBy === undefined && this.#consuming.model !== undefined;
  }

  declare(queue: Pick<Subscription, "queue" | "exchange" | "routingKey">): Promise<void> {
    this.#declared.set(queue.queue, queue);
    return this.#ask((topology) => topology.ensureQueue(queue));
  }

  async publish(queue: string, message: QueueMessage): Promise<void> {
    checkPublication(queue, message);
    const outgoing = { queue, body: message.body, properties: buildProperties(message) };
    const declared = this.#declared.get(queue);
    await this.#publisher.publish(outgoing).catch(async (error: unknown) => {
      // The broker was away when it was asked for, or somebody has deleted it.
      if (declared === undefined || !(error instanceof KsError) || error.code !== "QUEUE_NOT_FOUND") throw error;
      await this.#ask((topology) => topology.ensureQueue(declared));
      await this.#publisher.publish(outgoing);
    });
  }

  /** Asks queue by queue, so a message that moves meanwhile may be counted twice or not at all. */
  async stats(queue: string): Promise<QueueStats | undefined> {
    if (!isQueueName(deadQueueOf(queue))) return undefined;
    return await this.#ask(async (topology) => {
      const ready = await topology.count(queue);
      if (ready === undefined) return undefined;
      const delays = retryDelays(ATTEMPTS_WITH_ALL_DELAYS, this.#options.retryPolicy);
      const waiting = await Promise.all(delays.map((delayMs) => topology.countCompanion(retryQueueOf(queue, delayMs))));
      const dead = await topology.countCompanion(deadQueueOf(queue));
      return { ready: waiting.reduce((sum, count) => sum + count, ready), unacked: this.#inFlight(queue), dead };
    });
  }

  consume(subscription: Subscription): Consumer {
    const { queue, exchange, routingKey } = subscription;
    this.#declared.set(queue, {
      queue,
      ...(exchange === undefined ? {} : { exchange }),
      ...(routingKey === undefined ? {} : { routingKey }),
    });
    const context: AmqpConsumerContext = {
      link: this.#consuming,
      publisher: this.#publisher,
      topologyOf: (model) => this.#topologyOf(model),
      policy: this.#options.retryPolicy,
      clock: this.#options.clock,
      log: this.#options.log,
    };
    const consumer = new AmqpConsumer(subscription, context);
    this.#consumers.add(consumer);
    return {
      stop: async (options) => {
        await consumer.stop(options);
        this.#consumers.delete(consumer);
      },
    };
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop(options)));
    await Promise.all([this.#publishing.close(), this.#consuming.close()]);
  }

  #inFlight(queue: string): number {
    let count = 0;
    for (const consumer of this.#consumers) if (consumer.queue === queue) count += consumer.inFlight;
    return count;
  }

  #topologyOf(model: ChannelModel): Topology {
    const known = this.#topologies.get(model);
    if (known !== undefined) return known;
    const topology = new Topology(model, this.#options.clock, this.#newQueues);
    this.#topologies.set(model, topology);
    return topology;
  }

  /** Asks the broker, within the limits of a caller's patience. */
  async #ask<T>(question: (topology: Topology) => Promise<T>): Promise<T> {
    const answer = this.#askOnce(question).catch((lost: unknown) => {
      // Every question may be asked twice, and a broker that is there may end a connection, as for a queue that is just being deleted.
      if (lost instanceof LostConnection) return this.#askOnce(question);
      throw lost;
    });
    const limitMs = this.#options.replyLimitMs;
    return await withLimit(this.#options.clock, limitMs, answer, () => {
      throw unavailable(`RabbitMQ did not answer within ${limitMs} ms`);
    });
  }

  /** @throws LostConnection when the connection ended meanwhile */
  async #askOnce<T>(question: (topology: Topology) => Promise<T>): Promise<T> {
    const model = await this.#consuming.waitForModel(CONNECTION_WAIT_MS);
    if (model === undefined) throw unavailable(`RabbitMQ is away (${this.#consuming.lastError}); try again later`);
    try {
      return await question(this.#topologyOf(model));
    } catch (error) {
      const { message } = error as Error;
      if (this.#consuming.model !== model) throw new LostConnection(`RabbitMQ ended the connection: ${message}`, error);
      throw unavailable(`RabbitMQ refused: ${message}`, error);
    }
  }
}

/** The connection ended while the broker was asked. */
class LostConnection extends KsError {
  constructor(message: string, cause: unknown) {
    super("STORE_UNAVAILABLE", { message, retryAfterMs: RETRY_AFTER_MS, cause });
  }
}

function unavailable(message: string, cause?: unknown): KsError {
  return new KsError("STORE_UNAVAILABLE", { message, retryAfterMs: RETRY_AFTER_MS, cause });
}
