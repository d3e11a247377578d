import type { ChannelModel, ConsumeMessage } from "amqplib";
import type { Timer } from "../../clock.ts";
import { DeliveryRuns, withLimit } from "../delivery-runs.ts";
import type { Consumer, DeliveryOutcome, Subscription } from "../port.ts";
import { decideArrival, type DeliveryCase, decideDelivery, type DeliveryDecision, type RetryPolicy } from "../retry.ts";
import type { AmqpLink } from "./link.ts";
import { type ReceivedMessage, readMessage } from "./message.ts";
import { type MessageRun, RecentRuns } from "./recent-runs.ts";
import { type Session, settle, type SettlementContext } from "./settlement.ts";
import type { Topology } from "./topology.ts";

const REATTACH_FIRST_MS = 500;
const REATTACH_MAX_MS = 10_000;
const BROKER_REPLY_LIMIT_MS = 1_000;
/** For the copies of released messages to be confirmed. */
const RELEASE_GRACE_MS = 3_000;

export interface AmqpConsumerContext extends SettlementContext {
  link: AmqpLink;
  topologyOf(model: ChannelModel): Topology;
  policy: RetryPolicy;
}

/** One subscription on a channel of its own, so that its prefetch is its alone and no other waits behind it. */
export class AmqpConsumer implements Consumer {
  readonly #context: AmqpConsumerContext;
  readonly #subscription: Subscription;
  readonly #runs: DeliveryRuns;
  readonly #recent = new RecentRuns();
  readonly #stopListening: () => void;
  #session: Session | undefined;
  #attaching = false;
  #reattach: Timer | undefined;
  #failedAttaches = 0;
  #stopping = false;

  constructor(subscription: Subscription, context: AmqpConsumerContext) {
    this.#subscription = subscription;
    this.#context = context;
    this.#runs = new DeliveryRuns(context.clock);
    this.#stopListening = context.link.onUp(() => void this.#attach());
    void this.#attach();
  }

  get queue(): string {
    return this.#subscription.queue;
  }

  get inFlight(): number {
    return this.#runs.size;
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    this.#stopping = true;
    this.#stopListening();
    this.#reattach?.cancel();
    const session = this.#session;
    if (session?.open === true) await this.#limited(session.channel.cancel(session.consumerTag));
    await this.#runs.drain(options.deadlineMs, RELEASE_GRACE_MS);
    // The reply proves that the acks before it have arrived.
    if (session?.open === true) await this.#limited(session.channel.close());
  }

  async #limited(reply: Promise<unknown>): Promise<void> {
    const quiet = reply.catch(() => undefined);
    await withLimit(this.#context.clock, BROKER_REPLY_LIMIT_MS, quiet, () => undefined);
  }

  /** Begins to consume, unless it does already or the broker is away, whose return calls this again. Never rejects. */
  async #attach(): Promise<void> {
    const model = this.#context.link.model;
    if (model === undefined || this.#stopping || this.#attaching || this.#session !== undefined) return;
    this.#attaching = true;
    const session = await this.#openSession(model).catch((error: Error) => {
      this.#failedAttaches += 1;
      this.#context.log.warn({ queue: this.queue, error: error.message }, "cannot consume from the queue, retrying");
      return undefined;
    });
    this.#attaching = false;
    if (session?.open !== true) return this.#attachLater();
    if (this.#stopping) return void session.channel.close().catch(() => {});
    this.#session = session;
    this.#failedAttaches = 0;
  }

  #attachLater(): void {
    if (this.#stopping) return;
    const delayMs = Math.min(REATTACH_FIRST_MS * 2 ** Math.min(this.#failedAttaches, 10), REATTACH_MAX_MS);
    this.#reattach?.cancel();
    this.#reattach = this.#context.clock.setTimer(delayMs, () => void this.#attach());
  }

  async #openSession(model: ChannelModel): Promise<Session> {
    const topology = this.#context.topologyOf(model);
    await topology.ensureQueue(this.#subscription);
    const channel = await model.createChannel();
    const session: Session = { channel, topology, consumerTag: "", open: true };
    channel.on("error", (error) => {
      this.#context.log.warn({ queue: this.queue, error: error.message }, "RabbitMQ closed the channel of a consumer");
    });
    channel.on("close", () => this.#sessionClosed(session));
    await channel.prefetch(this.#subscription.concurrency);
    const { consumerTag } = await channel.consume(this.queue, (received) => this.#receive(session, received));
    session.consumerTag = consumerTag;
    return session;
  }

  #sessionClosed(session: Session): void {
    session.open = false;
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#attachLater();
  }

  /** `null`: the broker ended the consumer, as when the queue is deleted. */
  #receive(session: Session, received: ConsumeMessage | null): void {
    if (received === null) {
      session.topology.forgetFamily(this.queue);
      session.channel.close().catch(() => {});
      return;
    }
    const read = readMessage(received);
    const known = received.fields.redelivered ? this.#recent.find(read.publication) : undefined;
    if (known === undefined) return this.#begin(session, received, read);
    this.#runs.start(
      () => known.outcome,
      (outcome) => this.#settle(session, received, read, known, this.#decide(known, outcome)),
    );
  }

  #begin(session: Session, received: ConsumeMessage, read: ReceivedMessage): void {
    const { promise, resolve } = Promise.withResolvers<DeliveryOutcome>();
    const run: MessageRun = { attempt: read.attempt, firstFailedAtMs: read.firstFailedAtMs, outcome: promise, copied: false };
    const arrival = decideArrival(this.#caseOf(run), this.#context.clock.nowMs());
    if (this.#stopping || arrival.kind === "dead") {
      const decision = arrival.kind === "dead" ? arrival : ({ kind: "release" } as const);
      this.#runs.start(
        async () => ({ kind: "release" }),
        () => this.#settle(session, received, read, run, decision),
      );
      return;
    }
    this.#recent.remember(read.publication, run);
    this.#runs.start(
      (signal) => this.#subscription.handle({ ...read.message, attempt: read.attempt, redelivered: read.redelivered, signal }),
      (outcome) => {
        resolve(outcome);
        return this.#settle(session, received, read, run, this.#decide(run, outcome));
      },
    );
  }

  #decide(run: MessageRun, outcome: DeliveryOutcome): DeliveryDecision {
    return decideDelivery(outcome, this.#caseOf(run), this.#context.clock.nowMs());
  }

  #caseOf(run: MessageRun): DeliveryCase {
    const { queue, maxAttempts } = this.#subscription;
    return { queue, maxAttempts, attempt: run.attempt, firstFailedAtMs: run.firstFailedAtMs, policy: this.#context.policy };
  }

  #settle(session: Session, received: ConsumeMessage, read: ReceivedMessage, run: MessageRun, decision: DeliveryDecision): Promise<void> {
    const { messageId } = read.message;
    return settle({ session, subscription: this.#subscription, received, messageId, run, decision }, this.#context);
  }
}
