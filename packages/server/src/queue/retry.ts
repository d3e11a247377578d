import type { DeliveryOutcome } from "./port.ts";

/** How long a failed delivery waits before it is tried again. */
export interface RetryPolicy {
  firstDelayMs: number;
  maxDelayMs: number;
}

export const DEFAULT_RETRY_POLICY: RetryPolicy = { firstDelayMs: 1_000, maxDelayMs: 300_000 };

/** Headers of a dead letter, which say why it is one. */
export const DEAD_HEADERS = {
  reason: "x-dead-reason",
  attempts: "x-attempts",
  firstFailedAt: "x-first-failed-at",
  deadAt: "x-dead-at",
  originalQueue: "x-original-queue",
} as const;

/** A header travels with each copy of the message, so a reason of any length must not outgrow what brokers take in one. */
const MAX_REASON_CHARACTERS = 1_024;

export type DeliveryDecision =
  | { kind: "ack" }
  | { kind: "release" }
  | { kind: "retry"; delayMs: number; failures: number; firstFailedAtMs: number }
  | { kind: "dead"; headers: Record<string, string> };

export interface DeliveryCase {
  queue: string;
  attempt: number;
  maxAttempts: number;
  /** When the message failed for the first time; undefined when it has not yet. */
  firstFailedAtMs: number | undefined;
  policy: RetryPolicy;
}

/** Wait after the failure of attempt n, from 1: with the defaults 1 s, 2 s, 4 s, … and never more than 5 minutes. */
export function retryDelayMs(attempt: number, policy: RetryPolicy): number {
  // 2 ** 1024 is Infinity, and Infinity × 0 would be NaN for a policy without delay.
  const doublings = Math.min(Math.max(0, attempt - 1), 40);
  return Math.min(policy.firstDelayMs * 2 ** doublings, policy.maxDelayMs);
}

/** Every delay that a policy leads to within `maxAttempts`, shortest first. */
export function retryDelays(maxAttempts: number, policy: RetryPolicy): number[] {
  const delays = new Set<number>();
  for (let attempt = 1; attempt < maxAttempts; attempt++) delays.add(retryDelayMs(attempt, policy));
  return [...delays];
}

/** What becomes of a message after a delivery ended in `outcome`. */
export function decideDelivery(outcome: DeliveryOutcome, delivery: DeliveryCase, nowMs: number): DeliveryDecision {
  if (outcome.kind !== "fail") return outcome;
  const firstFailedAtMs = delivery.firstFailedAtMs ?? nowMs;
  if (delivery.attempt >= delivery.maxAttempts) {
    return { kind: "dead", headers: buildDeadHeaders(outcome.reason, delivery, delivery.attempt, firstFailedAtMs, nowMs) };
  }
  return { kind: "retry", delayMs: retryDelayMs(delivery.attempt, delivery.policy), failures: delivery.attempt, firstFailedAtMs };
}

/**
 * Whether a message may be handed to its handler at all. One whose earlier attempts took their consumer down with them
 * comes back with its attempts used up, and would take the next one down as well.
 */
export function decideArrival(
  delivery: DeliveryCase,
  nowMs: number,
): { kind: "deliver" } | { kind: "dead"; headers: Record<string, string> } {
  if (delivery.attempt <= delivery.maxAttempts) return { kind: "deliver" };
  const reason = "The outcome of the last attempt was lost: the server ended while the message was being handled";
  return { kind: "dead", headers: buildDeadHeaders(reason, delivery, delivery.attempt - 1, delivery.firstFailedAtMs ?? nowMs, nowMs) };
}

function buildDeadHeaders(
  reason: string,
  delivery: DeliveryCase,
  attempts: number,
  firstFailedAtMs: number,
  nowMs: number,
): Record<string, string> {
  return {
    [DEAD_HEADERS.reason]: reason.slice(0, MAX_REASON_CHARACTERS).toWellFormed(),
    [DEAD_HEADERS.attempts]: String(attempts),
    [DEAD_HEADERS.firstFailedAt]: new Date(firstFailedAtMs).toISOString(),
    [DEAD_HEADERS.deadAt]: new Date(nowMs).toISOString(),
    [DEAD_HEADERS.originalQueue]: delivery.queue,
  };
}

/** Where the dead letters of a queue go. */
export function deadQueueOf(queue: string): string {
  return `${queue}.dead`;
}

/** The queue whose dead letters, or messages that wait for another attempt, are kept under this name; else the name itself. */
export function sourceOf(queue: string): string {
  return queue.replace(/(?:\.dead|\.retry\.\d+)+$/, "");
}
