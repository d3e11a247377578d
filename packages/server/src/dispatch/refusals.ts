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
  readyReplicas: number;
  maxReplicas: number;
  concurrency: number;
}

/** No place came free, or no replica had started, within `--queue-timeout`. */
export function refuseWaited({ queueTimeoutMs, ...figures }: WaitFigures): KsError {
  const queueTimeoutSeconds = queueTimeoutMs / 1000;
  const { inFlight, replicas, readyReplicas, maxReplicas } = figures;
  const starting = readyReplicas === replicas ? "" : `, of which ${readyReplicas} have started`;
  return new KsError("NO_CAPACITY", {
    message: `No capacity: the call waited ${queueTimeoutSeconds} s for a place; there are ${inFlight} calls in ${replicas} of at most ${maxReplicas} replicas${starting}`,
    retryAfterMs: 1000,
    details: { queueTimeoutSeconds, ...figures },
  });
}
