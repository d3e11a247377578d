import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { Delivery, DeliveryOutcome, QueueDriver, QueueMessage, Subscription } from "../../../packages/server/src/queue/port.ts";

export const ACK: DeliveryOutcome = { kind: "ack" };
export const RELEASE: DeliveryOutcome = { kind: "release" };

export function fail(reason: string): DeliveryOutcome {
  return { kind: "fail", reason };
}

/** Waits until `condition` holds; fails with `what` when it does not in time. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`After ${limitMs} ms still not: ${what}`);
    await pause(10);
  }
}

export function uniqueQueue(word: string): string {
  return `${word}-${randomUUID().slice(0, 8)}`;
}

export function textMessage(text: string, headers: Record<string, string> = {}): QueueMessage {
  return { messageId: randomUUID(), body: Buffer.from(text), contentType: "text/plain", headers };
}

export function subscriptionOf(queue: string, handle: Subscription["handle"], overrides: Partial<Subscription> = {}): Subscription {
  return { queue, concurrency: 10, maxAttempts: 5, handle, ...overrides };
}

export async function publishTexts(driver: QueueDriver, queue: string, texts: readonly string[]): Promise<void> {
  for (const text of texts) await driver.publish(queue, textMessage(text));
}

export function textOf(message: Pick<QueueMessage, "body">): string {
  return message.body.toString();
}

/** A handler that lets each delivery wait for a word from the test. */
export class Gate {
  readonly entered: Delivery[] = [];
  readonly #exits: ((outcome: DeliveryOutcome) => void)[] = [];

  readonly handle = (delivery: Delivery): Promise<DeliveryOutcome> => {
    this.entered.push(delivery);
    return new Promise((resolve) => this.#exits.push(resolve));
  };

  open(outcome: DeliveryOutcome = ACK): void {
    for (const exit of this.#exits.splice(0)) exit(outcome);
  }
}
