import { KsError } from "@kube-serverless/contracts";
import type { Channel, ConsumeMessage } from "amqplib";
import type { Clock } from "../../clock.ts";
import type { QueueLog } from "../log.ts";
import type { Subscription } from "../port.ts";
import type { DeliveryDecision } from "../retry.ts";
import { buildCopyProperties, buildDeadProperties } from "./message.ts";
import type { ConfirmPublisher, OutgoingMessage } from "./publisher.ts";
import type { MessageRun } from "./recent-runs.ts";
import type { Topology } from "./topology.ts";

const AGAIN_MS = 1_000;

/** A channel with our consumer on it, from its opening until it or its connection closes. */
export interface Session {
  readonly channel: Channel;
  readonly topology: Topology;
  consumerTag: string;
  open: boolean;
}

export interface SettlementContext {
  publisher: ConfirmPublisher;
  clock: Clock;
  log: QueueLog;
}

/** A delivery that waits for what was decided to be done. */
export interface Unsettled {
  session: Session;
  subscription: Subscription;
  received: ConsumeMessage;
  messageId: string;
  run: MessageRun;
  decision: DeliveryDecision;
}

/**
 * Acks a delivery, for all but a success after a copy of it is safe elsewhere: in a retry queue, among the dead, or at the
 * end of its own queue. (A requeue by RabbitMQ would count as an attempt.) Never rejects; as long as the copy cannot be
 * stored the delivery stays unacked, and when its channel closes it is RabbitMQ's to deliver it again.
 */
export async function settle(unsettled: Unsettled, context: SettlementContext): Promise<void> {
  const { session, run, decision } = unsettled;
  for (let first = true; session.open && decision.kind !== "ack" && !run.copied; first = false) {
    try {
      const direct = decision.kind === "retry" && !first;
      await context.publisher.publish(direct ? buildCopy(unsettled, decision) : await prepareCopy(unsettled, decision));
      run.copied = true;
    } catch (error) {
      forgetMissingQueue(unsettled, error);
      const fields = { queue: unsettled.subscription.queue, decision: decision.kind, error: (error as Error).message };
      context.log.warn(fields, "cannot store the copy of a message, trying again");
      await wait(context.clock, first && decision.kind === "retry" ? Math.max(AGAIN_MS, decision.delayMs) : AGAIN_MS);
    }
  }
  ack(session, unsettled.received);
}

async function prepareCopy(unsettled: Unsettled, decision: Exclude<DeliveryDecision, { kind: "ack" }>): Promise<OutgoingMessage> {
  const { session, subscription, received, messageId, run } = unsettled;
  const { queue } = subscription;
  if (decision.kind === "retry") {
    return { ...buildCopy(unsettled, decision), queue: await session.topology.ensureRetryQueue(queue, decision.delayMs) };
  }
  if (decision.kind === "dead") {
    const deadQueue = await session.topology.ensureDeadQueue(queue);
    return { queue: deadQueue, body: received.content, properties: buildDeadProperties(received, messageId, decision.headers) };
  }
  await session.topology.ensureQueue(subscription);
  return buildCopy(unsettled, { failures: run.attempt - 1, firstFailedAtMs: run.firstFailedAtMs });
}

/**
 * A copy for the end of its own queue: where a release belongs, and where a retry goes after it has waited here, when its
 * retry queue cannot be used: RabbitMQ may forbid us to declare it, or may have lost its leader.
 */
function buildCopy(unsettled: Unsettled, count: { failures: number; firstFailedAtMs: number | undefined }): OutgoingMessage {
  const { subscription, received, messageId } = unsettled;
  return { queue: subscription.queue, body: received.content, properties: buildCopyProperties(received, messageId, count) };
}

function wait(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => void clock.setTimer(delayMs, resolve));
}

/** The queue of the copy was deleted behind our back: the next try declares it again. */
function forgetMissingQueue({ session, subscription }: Unsettled, error: unknown): void {
  if (error instanceof KsError && error.code === "QUEUE_NOT_FOUND") session.topology.forgetFamily(subscription.queue);
}

/** On a channel that is closed there is nothing to ack: RabbitMQ has taken the message back. */
function ack(session: Session, received: ConsumeMessage): void {
  if (!session.open) return;
  try {
    session.channel.ack(received);
  } catch {
    // It closed in between; the message comes again.
  }
}
