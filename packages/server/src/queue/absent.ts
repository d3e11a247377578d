import { KsError } from "@kube-serverless/contracts";
import type { QueueDriver } from "./port.ts";

/** Stands for a broker where none is named: queue triggers wait, and publishing says what is missing. */
export function createAbsentQueues(message: string): QueueDriver {
  const refuse = (): Promise<never> => Promise.reject(new KsError("STORE_UNAVAILABLE", { message }));
  return {
    kind: "rabbitmq",
    connected: false,
    // A function that names a queue is deployed all the same.
    declare: async () => undefined,
    publish: refuse,
    stats: refuse,
    consume: () => ({ stop: async () => undefined }),
    stop: async () => undefined,
  };
}
