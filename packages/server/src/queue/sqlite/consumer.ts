import type { Clock } from "../../clock.ts";
import { DeliveryRuns } from "../delivery-runs.ts";
import type { DeliveryOutcome, QueueMessage, Subscription } from "../port.ts";
import { decideArrival, type DeliveryCase, type DeliveryDecision, decideDelivery, type RetryPolicy } from "../retry.ts";
import type { ClaimedMessage } from "./operations.ts";

/** For what is released at the deadline to be committed. */
const RELEASE_GRACE_MS = 3_000;

export interface EmbeddedConsumerContext {
  policy: RetryPolicy;
  clock: Clock;
  /** Makes the decision durable; never rejects. */
  settle(queue: string, message: ClaimedMessage, decision: DeliveryDecision): Promise<void>;
  onPlaceFreed(): void;
}

/** One subscription: its handler, and the messages it has in flight. */
export class EmbeddedConsumer {
  readonly #subscription: Subscription;
  readonly #context: EmbeddedConsumerContext;
  readonly #runs: DeliveryRuns;
  #stopping = false;

  constructor(subscription: Subscription, context: EmbeddedConsumerContext) {
    this.#subscription = subscription;
    this.#context = context;
    this.#runs = new DeliveryRuns(context.clock, context.onPlaceFreed);
  }

  get freePlaces(): number {
    return this.#stopping ? 0 : this.#subscription.concurrency - this.#runs.size;
  }

  receive(message: ClaimedMessage): void {
    const delivery = this.#caseOf(message);
    const arrival = decideArrival(delivery, this.#context.clock.nowMs());
    if (arrival.kind === "dead") {
      this.#runs.start(
        async () => ({ kind: "release" }),
        () => this.#settle(message, arrival),
      );
      return;
    }
    this.#runs.start(
      (signal) => this.#handle(message, delivery.attempt, signal),
      (outcome) => this.#settle(message, decideDelivery(outcome, delivery, this.#context.clock.nowMs())),
    );
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    this.#stopping = true;
    await this.#runs.drain(options.deadlineMs, RELEASE_GRACE_MS);
  }

  #handle(claimed: ClaimedMessage, attempt: number, signal: AbortSignal): Promise<DeliveryOutcome> {
    const { messageId, headers, contentType, redelivered, body } = claimed;
    const message: QueueMessage = { messageId, headers, body: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
    if (contentType !== null) message.contentType = contentType;
    return this.#subscription.handle({ ...message, attempt, redelivered, signal });
  }

  #caseOf(message: ClaimedMessage): DeliveryCase {
    const { queue, maxAttempts } = this.#subscription;
    const firstFailedAtMs = message.firstFailedAtMs ?? undefined;
    return { queue, maxAttempts, attempt: message.failures + 1, firstFailedAtMs, policy: this.#context.policy };
  }

  #settle(message: ClaimedMessage, decision: DeliveryDecision): Promise<void> {
    return this.#context.settle(this.#subscription.queue, message, decision);
  }
}
