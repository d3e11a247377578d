import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import { type ChannelModel, connect } from "amqplib";
import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import type { Delivery, QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { disposeRabbitMq, type RabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { ACK, fail, Gate, subscriptionOf, textMessage, textOf, uniqueQueue, until } from "./queue-support.ts";
import { TEST_POLICY } from "./harness.ts";

describe("RabbitMQ beside other programs", { skip: rabbitMqMissing() ?? false }, () => {
  let broker: RabbitMq;
  let driver: QueueDriver;
  /** Another program's connection. */
  let other: ChannelModel;

  before(async () => {
    broker = await sharedRabbitMq();
    driver = createAmqpQueues({ url: broker.url, retryPolicy: TEST_POLICY, settleMs: 0 });
    await until("connected", () => driver.connected);
    other = await connect(broker.url);
    other.on("error", () => {});
  });
  after(async () => {
    await other?.close();
    await driver?.stop({ deadlineMs: 0 });
    await disposeRabbitMq();
  });

  async function collect(queue: string, count: number): Promise<Delivery[]> {
    const received: Delivery[] = [];
    const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK)));
    await until(`${count} messages`, () => received.length >= count);
    await consumer.stop({ deadlineMs: 5_000 });
    return received;
  }

  test("a queue that we declare is a quorum queue", async () => {
    const queue = uniqueQueue("quorum");
    await driver.declare({ queue });
    const channel = await other.createChannel();
    channel.on("error", () => {});
    await assert.rejects(channel.assertQueue(queue, { durable: true }), /inequivalent arg 'x-queue-type'.*'quorum'/);
  });

  test("an existing classic queue is taken as it is, with retries and dead letters", async () => {
    const queue = uniqueQueue("classic");
    const channel = await other.createChannel();
    await channel.assertQueue(queue, { durable: false, maxLength: 1000 });
    const attempts: number[] = [];
    const handle = async ({ attempt }: Delivery) => (attempts.push(attempt), fail("no"));
    const consumer = driver.consume(subscriptionOf(queue, handle, { maxAttempts: 3 }));
    await driver.publish(queue, textMessage("x"));
    await until("dead", async () => (await driver.stats(queue))?.dead === 1);
    await consumer.stop({ deadlineMs: 5_000 });
    assert.deepEqual(attempts, [1, 2, 3]);
  });

  test("an exchange is declared direct and durable, and bound by the queue's name or the routing key", async () => {
    const [exchange, byName, byKey] = [uniqueQueue("exchange"), uniqueQueue("by-name"), uniqueQueue("by-key")];
    await driver.declare({ queue: byName, exchange });
    await driver.declare({ queue: byKey, exchange, routingKey: "orders.new" });
    const channel = await other.createConfirmChannel();
    await channel.assertExchange(exchange, "direct", { durable: true });
    channel.publish(exchange, byName, Buffer.from("to the name"));
    channel.publish(exchange, "orders.new", Buffer.from("to the key"));
    await channel.waitForConfirms();
    assert.deepEqual((await collect(byName, 1)).map(textOf), ["to the name"]);
    assert.deepEqual((await collect(byKey, 1)).map(textOf), ["to the key"]);
  });

  test("an existing exchange of another type is bound as it is", async () => {
    const [exchange, queue] = [uniqueQueue("topic"), uniqueQueue("topical")];
    const channel = await other.createConfirmChannel();
    await channel.assertExchange(exchange, "topic", { durable: false });
    await driver.declare({ queue, exchange, routingKey: "orders.*" });
    channel.publish(exchange, "orders.paid", Buffer.from("paid"));
    await channel.waitForConfirms();
    assert.deepEqual((await collect(queue, 1)).map(textOf), ["paid"]);
  });

  test("another program's message keeps one id and its properties over its retries", async () => {
    const queue = uniqueQueue("foreign");
    await driver.declare({ queue });
    const channel = await other.createConfirmChannel();
    const headers = { number: 7, flag: true, list: [1, "b"], CC: [queue] };
    // Per-message expiry would otherwise cut the wait for the retry short, and CC send the copy twice.
    channel.sendToQueue(queue, Buffer.from("{}"), {
      contentType: "application/json",
      contentEncoding: "identity",
      headers,
      expiration: 60_000,
    });
    await channel.waitForConfirms();
    const seen: Delivery[] = [];
    const handle = async (delivery: Delivery) => (seen.push(delivery), delivery.attempt < 3 ? fail("again") : ACK);
    const consumer = driver.consume(subscriptionOf(queue, handle));
    await until("third attempt", () => seen.some(({ attempt }) => attempt === 3));
    await until("nothing left", async () => {
      const stats = await driver.stats(queue);
      return stats?.ready === 0 && stats.unacked === 0;
    });
    await consumer.stop({ deadlineMs: 5_000 });
    const ids = new Set(seen.map(({ messageId }) => messageId));
    assert.equal(ids.size, 1);
    assert.ok([...ids][0] !== "");
    assert.equal(seen.length, 3);
    for (const { headers: shown, contentType } of seen) {
      assert.equal(contentType, "application/json");
      assert.deepEqual([shown["number"], shown["flag"], shown["list"], shown["content-encoding"]], ["7", "true", '[1,"b"]', "identity"]);
    }
  });

  test("a consumer whose queue is deleted declares it again and goes on", async () => {
    const queue = uniqueQueue("deleted");
    const received: string[] = [];
    const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(textOf(delivery)), ACK)));
    await until("declared", async () => (await driver.stats(queue)) !== undefined);
    const channel = await other.createChannel();
    await channel.deleteQueue(queue);
    await until("there again", async () => (await driver.stats(queue)) !== undefined);
    await driver.publish(queue, textMessage("after"));
    await until("delivered", () => received.length === 1);
    await consumer.stop({ deadlineMs: 5_000 });
  });

  test("a queue that RabbitMQ refuses disturbs no other", async () => {
    const [refused, fine] = [uniqueQueue("refused"), uniqueQueue("fine")];
    const channel = await other.createChannel();
    await channel.assertQueue(refused, { exclusive: true, durable: false });
    await assert.rejects(driver.declare({ queue: refused }), (error) => error instanceof KsError && /RESOURCE_LOCKED/.test(error.message));
    const gate = new Gate();
    const consumers = [driver.consume(subscriptionOf(refused, gate.handle)), driver.consume(subscriptionOf(fine, async () => ACK))];
    await driver.declare({ queue: fine });
    await driver.publish(fine, textMessage("x"));
    await until("done", async () => {
      const stats = await driver.stats(fine);
      return stats?.ready === 0 && stats.unacked === 0;
    });
    assert.equal(driver.connected, true);
    await Promise.all(consumers.map((consumer) => consumer.stop({ deadlineMs: 0 })));
  });

  test("a user who may declare nothing gets retries all the same", async () => {
    const queue = uniqueQueue("limited");
    await driver.declare({ queue });
    await broker.control("add_user", "limited", "secret");
    await broker.control("set_permissions", "limited", "^$", ".*", ".*");
    const limited = createAmqpQueues({ url: broker.url.replace("guest:guest", "limited:secret"), retryPolicy: TEST_POLICY, settleMs: 0 });
    const attempts: number[] = [];
    limited.consume(subscriptionOf(queue, async ({ attempt }) => (attempts.push(attempt), attempt < 3 ? fail("again") : ACK)));
    await driver.publish(queue, textMessage("x"));
    await until("third attempt", () => attempts.length === 3);
    await limited.stop({ deadlineMs: 5_000 });
    assert.deepEqual(attempts, [1, 2, 3]);
    assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
  });

  test("while its disk is full RabbitMQ takes no messages, at once and saying so, and those within are still done", async () => {
    const queue = uniqueQueue("full");
    await driver.declare({ queue });
    await driver.publish(queue, textMessage("before"));
    const gate = new Gate();
    const consumer = driver.consume(subscriptionOf(queue, gate.handle));
    await until("in flight", () => gate.entered.length === 1);
    await broker.control("set_disk_free_limit", "900000GB");
    // RabbitMQ says so to a connection only when that publishes.
    const refusal = await driver.publish(queue, textMessage("during")).catch((error: unknown) => error);
    const began = performance.now();
    await assert.rejects(
      driver.publish(queue, textMessage("during")),
      (error) => error instanceof KsError && error.code === "STORE_UNAVAILABLE",
    );
    assert.ok(performance.now() - began < 1_000);
    assert.ok(refusal === undefined || (refusal instanceof KsError && refusal.code === "STORE_UNAVAILABLE"), String(refusal));
    assert.equal(driver.connected, false);
    gate.open();
    await until("the one within is done", async () => (await driver.stats(queue))?.unacked === 0);
    await broker.control("set_disk_free_limit", "10MB");
    await until("connected again", () => driver.connected);
    await driver.publish(queue, textMessage("after"));
    gate.open();
    await until("the later one came", () => gate.entered.some((delivery) => textOf(delivery) === "after"));
    gate.open();
    await consumer.stop({ deadlineMs: 5_000 });
  });
});
