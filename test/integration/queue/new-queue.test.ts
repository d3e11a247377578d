import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import { disposeRabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { publishTexts, textMessage, uniqueQueue, until } from "./queue-support.ts";

after(disposeRabbitMq);

test("RabbitMQ killed at once after the first message of a new queue has it, and takes more", {
  skip: rabbitMqMissing() ?? false,
}, async (t) => {
  const broker = await sharedRabbitMq();
  const driver = createAmqpQueues({ url: broker.url });
  t.after(() => driver.stop({ deadlineMs: 0 }));
  await until("connected", () => driver.connected);
  const queue = uniqueQueue("new");
  await driver.declare({ queue });
  await driver.publish(queue, textMessage("acknowledged"));
  await broker.kill();
  await until("noticed", () => !driver.connected);
  await broker.start();
  await until("connected again", () => driver.connected, 60_000);
  await publishTexts(driver, queue, ["after"]);
  await until("both there", async () => (await driver.stats(queue))?.ready === 2);
  assert.equal((await driver.stats(queue))?.dead, 0);
});
