import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Delivery } from "../../../packages/server/src/queue/port.ts";
import { startConsumerProcess } from "./consumer-process.ts";
import type { OpenQueues } from "./harness.ts";
import { ACK, Gate, fail, publishTexts, subscriptionOf, textOf, until } from "./queue-support.ts";

/** What lives through the end of a server, planned or not. */
export function testRestarts(queues: OpenQueues): void {
  describe("restarts", () => {
    test("messages, retries and dead letters live through a restart of the server, and calls within come back", async () => {
      const queue = await queues.declared("restart");
      const gate = new Gate();
      queues.driver.consume(
        subscriptionOf(
          queue,
          async (delivery) => {
            if (textOf(delivery) === "bad") return fail("bad");
            return await gate.handle(delivery);
          },
          { concurrency: 3, maxAttempts: 1 },
        ),
      );
      await publishTexts(queues.driver, queue, ["bad", "a", "b", "c", "d", "e"]);
      await until("three in flight", () => gate.entered.length === 3);
      await until("one dead", async () => (await queues.driver.stats(queue))?.dead === 1);
      await queues.restart(50);
      await until("all there", async () => (await queues.driver.stats(queue))?.ready === 5);
      assert.equal((await queues.driver.stats(queue))?.dead, 1);
      const received: Delivery[] = [];
      const consumer = queues.driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK), { maxAttempts: 1 }));
      await until("all done", () => received.length === 5);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received.map(textOf).toSorted(), ["a", "b", "c", "d", "e"]);
      assert.ok(received.every(({ attempt }) => attempt === 1));
    });

    test("what a killed server had in flight comes again, counted as an attempt", async () => {
      const queue = await queues.declared("killed");
      await publishTexts(queues.driver, queue, ["a", "b", "c", "d"]);
      await queues.driver.stop({ deadlineMs: 0 });
      const victim = await startConsumerProcess(queues.location, queue, { concurrency: 3, maxAttempts: 5, behaviour: "hang" });
      await until("three in flight", () => victim.received.length === 3);
      await victim.kill();
      await queues.open();
      const received: Delivery[] = [];
      const consumer = queues.driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK)));
      await until("all delivered", () => received.length >= 4);
      await consumer.stop({ deadlineMs: 5_000 });
      const attempts = Object.fromEntries(received.map((delivery) => [textOf(delivery), [delivery.attempt, delivery.redelivered]]));
      assert.deepEqual(attempts, { a: [2, true], b: [2, true], c: [2, true], d: [1, false] });
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a message that takes the server down every time is dead after its attempts", async () => {
      const queue = await queues.declared("killer");
      await publishTexts(queues.driver, queue, ["killer"]);
      await queues.driver.stop({ deadlineMs: 0 });
      for (let round = 1; round <= 2; round++) {
        const victim = await startConsumerProcess(queues.location, queue, { concurrency: 1, maxAttempts: 2, behaviour: "hang" });
        await until("in flight", () => victim.received.length === 1);
        assert.equal(victim.received[0]?.attempt, round);
        await victim.kill();
      }
      await queues.open();
      let handled = 0;
      const consumer = queues.driver.consume(subscriptionOf(queue, async () => (handled++, ACK), { maxAttempts: 2 }));
      await until("dead", async () => (await queues.driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal(handled, 0);
    });
  });
}
