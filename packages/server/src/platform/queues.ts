import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { QueueDriver } from "../queue/port.ts";
import { openEmbeddedQueues } from "../queue/sqlite/driver.ts";
import type { SqliteClient } from "../store/sqlite/client.ts";

/** RabbitMQ where one is named, else the embedded queues; amqplib is loaded only where there is a broker. */
export async function openQueues(amqpUrl: string | undefined, client: SqliteClient, clock: Clock, log: Logger): Promise<QueueDriver> {
  if (amqpUrl === undefined) return openEmbeddedQueues({ client, log, clock });
  const { createAmqpQueues } = await import("../queue/amqp/driver.ts");
  return createAmqpQueues({ url: amqpUrl, log, clock });
}
