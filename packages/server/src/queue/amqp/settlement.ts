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
  while (session.open && decision.kind !== "ack" && !run.copied) {
    try {
      await context.publisher.publish(await prepareCopy(unsettled, decision));
      run.copied = true;
    } catch (error) {
      forgetMissingQueue(unsettled, error);
      const fields = { queue: unsettled.subscription.queue, decision: decision.kind, error: (error as Error).message };
      context.log.warn(fields, "cannot store the copy of a message, trying again");
      await new Promise<void>((resolve) => void context.clock.setTimer(AGAIN_MS, resolve));
    }
  }
  ack(session, unsettled.received);
}

async function prepareCopy(unsettled: Unsettled, decision: Exclude<DeliveryDecision, { kind: "ack" }>): Promise<OutgoingMessage> {
  const { session, subscription, received, messageId, run } = unsettled;
  const { queue } = subscription;
  const body = received.content;
  switch (decision.kind) {
    case "retry": {
      const retryQueue = await session.topology.ensureRetryQueue(queue, decision.delayMs);
      return { queue: retryQueue, body, properties: buildCopyProperties(received, messageId, decision) };
    }
    case "dead": {
      const deadQueue = await session.topology.ensureDeadQueue(queue);
      return { queue: deadQueue, body, properties: buildDeadProperties(received, messageId, decision.headers) };
    }
    case "release": {
      await session.topology.ensureQueue(subscription);
      const count = { failures: run.attempt - 1, firstFailedAtMs: run.firstFailedAtMs };
      return { queue, body, properties: buildCopyProperties(received, messageId, count) };
    }
  }
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
