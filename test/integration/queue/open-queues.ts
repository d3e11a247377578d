import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { type QueueLocation, TEST_POLICY } from "./queue-suite.ts";

/** Opens the queues of a place with the tests' short waits. */
export async function openQueues(location: QueueLocation): Promise<QueueDriver> {
  if (location.kind === "rabbitmq") return createAmqpQueues({ url: location.url, retryPolicy: TEST_POLICY });
  throw new Error("no embedded queues yet");
}
