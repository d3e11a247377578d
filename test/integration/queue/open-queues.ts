import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { EMBEDDED_QUEUE_MODULE, openEmbeddedQueues } from "../../../packages/server/src/queue/sqlite/driver.ts";
import { createSqliteClient } from "../../../packages/server/src/store/sqlite/client.ts";
import { type QueueLocation, TEST_POLICY } from "./harness.ts";

/** Opens the queues of a place with the tests' short waits; stopping them closes what they stand on, too. */
export async function openQueues(location: QueueLocation, failpoint?: string): Promise<QueueDriver> {
  if (location.kind === "rabbitmq") return createAmqpQueues({ url: location.url, retryPolicy: TEST_POLICY, settleMs: 0 });
  const { folder } = location;
  const client = await createSqliteClient({
    folder,
    modules: [EMBEDDED_QUEUE_MODULE],
    failpoint,
    onFatal: (error) => {
      throw error;
    },
  });
  const driver = await openEmbeddedQueues({ client, retryPolicy: TEST_POLICY });
  const stop = driver.stop.bind(driver);
  driver.stop = async (options) => {
    await stop(options);
    await client.stop();
  };
  return driver;
}
