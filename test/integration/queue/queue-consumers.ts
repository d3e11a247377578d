import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Delivery } from "../../../packages/server/src/queue/port.ts";
import type { OpenQueues } from "./harness.ts";
import { ACK, Gate, publishTexts, subscriptionOf, textMessage, textOf, uniqueQueue, until } from "./queue-support.ts";

/** Consumers beside each other, and how they stop. */
export function testConsumers(queues: OpenQueues): void {
  describe("consumers", () => {
    test("no more than `concurrency` are in flight", async () => {
      const queue = await queues.declared("concurrency");
      let [inFlight, most, done] = [0, 0, 0];
      const consumer = queues.driver.consume(
        subscriptionOf(
          queue,
          async () => {
            most = Math.max(most, ++inFlight);
            await new Promise((resolve) => setTimeout(resolve, 5));
            inFlight -= 1;
            done += 1;
            return ACK;
          },
          { concurrency: 3 },
        ),
      );
      await publishTexts(
        queues.driver,
        queue,
        Array.from({ length: 40 }, () => "x"),
      );
      await until("all done", () => done === 40);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal(most, 3);
    });

    test("a queue whose function hangs does not starve another", async () => {
      const [slow, fast] = [await queues.declared("slow"), await queues.declared("fast")];
      const gate = new Gate();
      let done = 0;
      const slowConsumer = queues.driver.consume(subscriptionOf(slow, gate.handle, { concurrency: 2 }));
      const fastConsumer = queues.driver.consume(subscriptionOf(fast, async () => (done++, ACK), { concurrency: 2 }));
      await publishTexts(
        queues.driver,
        slow,
        Array.from({ length: 30 }, () => "slow"),
      );
      await until("the slow ones hang", () => gate.entered.length === 2);
      await publishTexts(
        queues.driver,
        fast,
        Array.from({ length: 30 }, () => "fast"),
      );
      await until("the fast ones are done", () => done === 30, 5_000);
      assert.equal(gate.entered.length, 2);
      await Promise.all([slowConsumer.stop({ deadlineMs: 0 }), fastConsumer.stop({ deadlineMs: 5_000 })]);
    });

    test("two consumers share a queue, and one that hangs leaves the rest to the other", async () => {
      const queue = await queues.declared("shared");
      const gate = new Gate();
      const done: string[] = [];
      const hanging = queues.driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 1 }));
      const working = queues.driver.consume(
        subscriptionOf(queue, async (delivery) => (done.push(textOf(delivery)), ACK), { concurrency: 1 }),
      );
      await publishTexts(
        queues.driver,
        queue,
        Array.from({ length: 30 }, (_, index) => `m${index}`),
      );
      await until("the rest is done", () => done.length === 29 && gate.entered.length === 1);
      gate.open();
      await Promise.all([hanging.stop({ deadlineMs: 5_000 }), working.stop({ deadlineMs: 5_000 })]);
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a consumer with an exchange makes the queue exist", async () => {
      const queue = uniqueQueue("bound");
      const received: string[] = [];
      const handle = async (delivery: Delivery) => (received.push(textOf(delivery)), ACK);
      const consumer = queues.driver.consume(subscriptionOf(queue, handle, { exchange: uniqueQueue("exchange") }));
      await until("the queue is there", async () => (await queues.driver.stats(queue)) !== undefined);
      await queues.driver.publish(queue, textMessage("through"));
      await until("delivered", () => received.length === 1);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("stopping waits for what is in flight, and takes nothing new", async () => {
      const queue = await queues.declared("stop");
      const gate = new Gate();
      const consumer = queues.driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 1 }));
      await publishTexts(queues.driver, queue, ["first", "second"]);
      await until("the first in flight", () => gate.entered.length === 1);
      const stopped = consumer.stop({ deadlineMs: 10_000 });
      await until("the second is left", async () => (await queues.driver.stats(queue))?.ready === 1);
      assert.equal(gate.entered[0]?.signal.aborted, false);
      gate.open();
      await stopped;
      assert.equal(gate.entered.length, 1);
      assert.deepEqual(await queues.driver.stats(queue), { ready: 1, unacked: 0, dead: 0 });
    });

    test("what is in flight at the deadline of a stop is given back uncounted", async () => {
      const queue = await queues.declared("deadline");
      const gate = new Gate();
      const consumer = queues.driver.consume(subscriptionOf(queue, gate.handle, { maxAttempts: 1 }));
      await publishTexts(queues.driver, queue, ["a", "b", "c"]);
      await until("in flight", () => gate.entered.length === 3);
      await consumer.stop({ deadlineMs: 50 });
      assert.ok(gate.entered.every(({ signal }) => signal.aborted));
      await until("given back", async () => (await queues.driver.stats(queue))?.ready === 3);

      const next = new Gate();
      const successor = queues.driver.consume(subscriptionOf(queue, next.handle, { maxAttempts: 1 }));
      await until("delivered again", () => next.entered.length === 3);
      assert.ok(next.entered.every(({ attempt, redelivered }) => attempt === 1 && redelivered));
      next.open();
      await successor.stop({ deadlineMs: 5_000 });
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });
  });
}
