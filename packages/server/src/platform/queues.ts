import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { QueueDriver } from "../queue/port.ts";
import { openEmbeddedQueues } from "../queue/sqlite/driver.ts";
import type { SqliteClient } from "../store/sqlite/client.ts";
import { openBroker } from "./broker.ts";

/** RabbitMQ where one is named, else the embedded queues. */
export async function openQueues(amqpUrl: string | undefined, client: SqliteClient, clock: Clock, log: Logger): Promise<QueueDriver> {
  return amqpUrl === undefined ? openEmbeddedQueues({ client, log, clock }) : openBroker(amqpUrl, clock, log);
}
