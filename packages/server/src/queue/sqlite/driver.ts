import { type Clock, systemClock } from "../../clock.ts";
import type { SqliteClient } from "../../store/sqlite/client.ts";
import { exactBytes } from "../../store/sqlite/module.ts";
import { withLimit } from "../delivery-runs.ts";
import { checkPublication } from "../limits.ts";
import { type QueueLog, silentLog } from "../log.ts";
import type { Consumer, QueueDriver, QueueMessage, QueueStats, Subscription } from "../port.ts";
import { DEFAULT_RETRY_POLICY, deadQueueOf, type DeliveryDecision, type RetryPolicy } from "../retry.ts";
import { EmbeddedConsumer } from "./consumer.ts";
import { QueueDispatcher } from "./dispatcher.ts";
import type { ClaimArgs, ClaimedMessage, ClaimResult, DeclareArgs, PublishArgs, SettleArgs, StatsResult } from "./operations.ts";

const AGAIN_MS = 1_000;
const IDLE_LIMIT_MS = 3_000;

/** What the store's worker thread has to load: see `createSqliteStore`. */
export const EMBEDDED_QUEUE_MODULE = new URL("./operations.ts", import.meta.url);

export interface EmbeddedQueueOptions {
  /** A client whose worker has loaded `EMBEDDED_QUEUE_MODULE`; it stays the caller's to stop, after the queues. */
  client: SqliteClient;
  log?: QueueLog;
  clock?: Clock;
  /** @default 1 s doubling, at most 5 minutes */
  retryPolicy?: RetryPolicy;
}

/** Queues in the data folder's SQLite file; resolves when what a dead process had in flight is free again. */
export async function openEmbeddedQueues(options: EmbeddedQueueOptions): Promise<QueueDriver> {
  await options.client.run("queue.recover");
  return new EmbeddedQueues({ log: silentLog, clock: systemClock, retryPolicy: DEFAULT_RETRY_POLICY, ...options });
}

/**
 * One process owns the data folder, so a lease needs no time limit: it holds as long as the process lives, and all that
 * are left are those of a dead one. Consumers are woken by the writes themselves; nothing polls.
 */
class EmbeddedQueues implements QueueDriver {
  readonly kind = "embedded";
  readonly #client: SqliteClient;
  readonly #clock: Clock;
  readonly #log: QueueLog;
  readonly #policy: RetryPolicy;
  readonly #dispatchers = new Map<string, QueueDispatcher>();
  readonly #consumers = new Set<Consumer>();
  #stopped = false;

  constructor(options: Required<EmbeddedQueueOptions>) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#policy = options.retryPolicy;
  }

  get connected(): boolean {
    return this.#client.writable;
  }

  async declare({ queue, exchange, routingKey }: Pick<Subscription, "queue" | "exchange" | "routingKey">): Promise<void> {
    const args: DeclareArgs = { queue, exchange, routingKey };
    await this.#client.run("queue.declare", args);
  }

  async publish(queue: string, message: QueueMessage): Promise<void> {
    checkPublication(queue, message);
    const { messageId, contentType, headers, body } = message;
    const args: PublishArgs = { queue, messageId, contentType, headers, body: exactBytes(body) };
    await this.#client.run("queue.publish", args);
    this.#dispatchers.get(queue)?.wake();
  }

  async stats(queue: string): Promise<QueueStats | undefined> {
    const [own, dead] = await Promise.all([this.#count(queue), this.#count(deadQueueOf(queue))]);
    if (own === undefined) return undefined;
    return { ready: own.ready, unacked: own.leased, dead: dead === undefined ? 0 : dead.ready + dead.leased };
  }

  consume(subscription: Subscription): Consumer {
    const dispatcher = this.#dispatcherOf(subscription.queue);
    const worker = new EmbeddedConsumer(subscription, {
      policy: this.#policy,
      clock: this.#clock,
      settle: (queue, message, decision) => this.#settle(queue, message, decision),
      onPlaceFreed: () => dispatcher.placeFreed(),
    });
    const consumer: Consumer = {
      stop: async (options) => {
        dispatcher.remove(worker);
        await worker.stop(options);
        this.#consumers.delete(consumer);
      },
    };
    this.#consumers.add(consumer);
    dispatcher.add(worker);
    void this.#untilDone("declare the queue", subscription.queue, () => this.declare(subscription));
    return consumer;
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.stop(options)));
    // A claim that was under way gives back what it brought.
    const idle = Promise.all([...this.#dispatchers.values()].map((dispatcher) => dispatcher.idle()));
    await withLimit(this.#clock, IDLE_LIMIT_MS, idle, () => undefined);
    this.#stopped = true;
  }

  #count(queue: string): Promise<StatsResult | undefined> {
    return this.#client.run("queue.stats", { queue });
  }

  #dispatcherOf(queue: string): QueueDispatcher {
    const known = this.#dispatchers.get(queue);
    if (known !== undefined) return known;
    const source = {
      claim: (limit: number): Promise<ClaimResult> => {
        const args: ClaimArgs = { queue, limit, nowMs: this.#clock.nowMs(), maxDelayMs: this.#policy.maxDelayMs };
        return this.#client.run("queue.claim", args);
      },
      release: (message: ClaimedMessage) => this.#settle(queue, message, { kind: "release" }),
    };
    const dispatcher = new QueueDispatcher(queue, source, this.#clock, this.#log);
    this.#dispatchers.set(queue, dispatcher);
    return dispatcher;
  }

  async #settle(queue: string, message: ClaimedMessage, decision: DeliveryDecision): Promise<void> {
    const args = this.#settleArgs(queue, message, decision);
    await this.#untilDone("settle a message", queue, () => this.#client.run("queue.settle", args));
    if (args.kind === "release") this.#dispatchers.get(queue)?.wake();
    if (args.kind === "retry") this.#dispatchers.get(queue)?.wakeAt(args.dueAtMs);
    if (args.kind === "dead") this.#dispatchers.get(args.deadQueue)?.wake();
  }

  #settleArgs(queue: string, { id, headers }: ClaimedMessage, decision: DeliveryDecision): SettleArgs {
    if (decision.kind === "retry") {
      const { delayMs, failures, firstFailedAtMs } = decision;
      return { kind: "retry", id, dueAtMs: this.#clock.nowMs() + delayMs, failures, firstFailedAtMs };
    }
    if (decision.kind === "dead") return { kind: "dead", id, deadQueue: deadQueueOf(queue), headers: { ...headers, ...decision.headers } };
    return { kind: decision.kind, id };
  }

  /** What must be written is tried again for as long as the store cannot take it; never rejects. */
  async #untilDone(what: string, queue: string, write: () => Promise<unknown>): Promise<void> {
    while (!this.#stopped) {
      try {
        await write();
        return;
      } catch (error) {
        this.#log.warn({ queue, what, error: (error as Error).message }, "cannot write to the queue, trying again");
        await new Promise<void>((resolve) => void this.#clock.setTimer(AGAIN_MS, resolve));
      }
    }
  }
}
