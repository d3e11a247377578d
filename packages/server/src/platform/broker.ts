import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { QueueDriver } from "../queue/port.ts";

/** Queues on RabbitMQ; amqplib is loaded only where there is a broker. */
export async function openBroker(url: string, clock: Clock, log: Logger): Promise<QueueDriver> {
  const { createAmqpQueues } = await import("../queue/amqp/driver.ts");
  return createAmqpQueues({ url, log, clock });
}
