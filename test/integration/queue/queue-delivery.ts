import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import type { Delivery } from "../../../packages/server/src/queue/port.ts";
import type { OpenQueues } from "./harness.ts";
import { ACK, Gate, fail, publishTexts, subscriptionOf, textMessage, textOf, uniqueQueue, until } from "./queue-support.ts";

/** A message on its way: what arrives, and what is counted. */
export function testDelivery(queues: OpenQueues): void {
  describe("delivery", () => {
    test("a message arrives as it was sent", async () => {
      const queue = await queues.declared("sent");
      const message = { ...textMessage("hello", { "x-tenant": "a", Region: "eu" }), contentType: "application/json" };
      await queues.driver.publish(queue, message);
      const gate = new Gate();
      const consumer = queues.driver.consume(subscriptionOf(queue, gate.handle));
      await until("delivered", () => gate.entered.length === 1);
      const { signal: _, ...delivery } = gate.entered[0] as Delivery;
      assert.deepEqual(delivery, { ...message, attempt: 1, redelivered: false });
      gate.open();
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("bodies may be empty, of any bytes and 6 MiB long", async () => {
      const queue = await queues.declared("bodies");
      const bodies = [Buffer.alloc(0), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), randomBytes(6 * 1024 * 1024)];
      for (const body of bodies) await queues.driver.publish(queue, { messageId: "same", headers: {}, body });
      const received: Delivery[] = [];
      const consumer = queues.driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK), { concurrency: 1 }));
      await until("all delivered", () => received.length === 3);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.ok(received.every((delivery, index) => delivery.body.equals(bodies[index] as Buffer)));
      assert.ok(received.every((delivery) => delivery.contentType === undefined));
    });

    test("a queue that nobody declared is not found", async () => {
      const queue = uniqueQueue("nowhere");
      await assert.rejects(
        queues.driver.publish(queue, textMessage("lost")),
        (error) => error instanceof KsError && error.code === "QUEUE_NOT_FOUND" && error.message.includes(queue),
      );
      assert.equal(await queues.driver.stats(queue), undefined);
    });

    test("what no broker could take is refused, saying why", async () => {
      const queue = await queues.declared("limits");
      const codeOf = (target: string, overrides: object): Promise<unknown> =>
        queues.driver
          .publish(target, { ...textMessage("x"), ...overrides })
          .catch((error: unknown) => (error instanceof KsError ? error.code : error));
      assert.equal(await codeOf("q".repeat(256), {}), "QUEUE_NOT_FOUND");
      assert.equal(await queues.driver.stats("q".repeat(256)), undefined);
      assert.equal(await codeOf(queue, { contentType: "c".repeat(256) }), "BAD_REQUEST");
      assert.equal(await codeOf(queue, { messageId: "i".repeat(256) }), "BAD_REQUEST");
      assert.equal(await codeOf(queue, { headers: { ["h".repeat(256)]: "" } }), "BAD_REQUEST");
      assert.equal((await queues.driver.stats(queue))?.ready, 0);
    });

    test("stats count what waits, what is in flight and what is dead", async () => {
      const queue = await queues.declared("stats");
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
      await publishTexts(queues.driver, queue, ["a", "b", "c", "d"]);
      await until("four ready", async () => (await queues.driver.stats(queue))?.ready === 4);
      const gate = new Gate();
      const consumer = queues.driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 3, maxAttempts: 1 }));
      await until("three in flight", async () => {
        const stats = await queues.driver.stats(queue);
        return stats?.ready === 1 && stats.unacked === 3;
      });
      gate.open(fail("no"));
      await until("the fourth in flight", () => gate.entered.length === 4);
      gate.open();
      await consumer.stop({ deadlineMs: 5_000 });
      await until("three dead", async () => (await queues.driver.stats(queue))?.dead === 3);
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 3 });
    });

    test("messages come in the order in which they were published", async () => {
      const queue = await queues.declared("order");
      const texts = Array.from({ length: 50 }, (_, index) => `m${index}`);
      await publishTexts(queues.driver, queue, texts);
      const received: string[] = [];
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async (delivery) => (received.push(textOf(delivery)), ACK), { concurrency: 1 }),
      );
      await until("all delivered", () => received.length === texts.length);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received, texts);
    });

    test("many messages published at once are each delivered once", async () => {
      const queue = await queues.declared("many");
      const messages = Array.from({ length: 500 }, (_, index) => textMessage(`m${index}`));
      const received: string[] = [];
      const consumer = queues.driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery.messageId), ACK)));
      await Promise.all(messages.map((message) => queues.driver.publish(queue, message)));
      await until("all delivered", () => received.length >= messages.length);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received.toSorted(), messages.map((message) => message.messageId).toSorted());
    });
  });
}
