import { KsError } from "@kube-serverless/contracts";
import type { CallQueue } from "./call-queue.ts";

/** The queue in front of the function is full. */
export function refuseOverloaded(queue: CallQueue): KsError {
  const { maxCalls, maxBytes } = queue.limits;
  return new KsError("OVERLOADED", {
    message: `Too many calls are waiting for this function: ${queue.size} of ${maxCalls} calls, ${queue.bytes} of ${maxBytes} bytes`,
    retryAfterMs: 1000,
    details: { queued: queue.size, maxQueued: maxCalls, queuedBytes: queue.bytes, maxQueuedBytes: maxBytes },
  });
}

export interface WaitFigures {
  queueTimeoutMs: number;
  inFlight: number;
  replicas: number;
  maxReplicas: number;
  concurrency: number;
}

/** No place came free within `--queue-timeout`. */
export function refuseWaited({ queueTimeoutMs, inFlight, replicas, maxReplicas, concurrency }: WaitFigures): KsError {
  const queueTimeoutSeconds = queueTimeoutMs / 1000;
  return new KsError("NO_CAPACITY", {
    message: `No capacity: the call waited ${queueTimeoutSeconds} s for a place; ${inFlight} calls run on ${replicas} of at most ${maxReplicas} replicas`,
    retryAfterMs: 1000,
    details: { queueTimeoutSeconds, replicas, maxReplicas, concurrency, inFlight },
  });
}
