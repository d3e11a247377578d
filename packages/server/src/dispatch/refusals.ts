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
  /** Why no further replica could be had, where that held the call up. */
  obstacle: KsError | undefined;
}

/** No place came free, or no replica had started, within `--queue-timeout`. */
export function refuseWaited({ queueTimeoutMs, obstacle, ...figures }: WaitFigures): KsError {
  const queueTimeoutSeconds = queueTimeoutMs / 1000;
  const { inFlight, replicas, readyReplicas, maxReplicas } = figures;
  const starting = readyReplicas === replicas ? "" : `, of which ${readyReplicas} have started`;
  const why = obstacle === undefined ? "" : `; another could not be had: ${obstacle.message.replace(/^No capacity: /, "")}`;
  return new KsError("NO_CAPACITY", {
    message: `No capacity: the call waited ${queueTimeoutSeconds} s for a place; there are ${inFlight} calls in ${replicas} of at most ${maxReplicas} replicas${starting}${why}`,
    retryAfterMs: 1000,
    details: { queueTimeoutSeconds, ...figures, ...(obstacle === undefined ? {} : { obstacle: obstacle.details }) },
    cause: obstacle,
  });
}
