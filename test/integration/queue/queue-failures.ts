import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Delivery } from "../../../packages/server/src/queue/port.ts";
import type { OpenQueues } from "./harness.ts";
import { ACK, Gate, fail, publishTexts, RELEASE, subscriptionOf, textMessage, textOf, until } from "./queue-support.ts";

/** What fails is tried again, given back, or dead. */
export function testFailures(queues: OpenQueues): void {
  describe("failures", () => {
    test("a failure is tried again after a wait that grows", async () => {
      const queue = await queues.declared("retry");
      const attempts: { attempt: number; redelivered: boolean; messageId: string; headers: object; atMs: number }[] = [];
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async ({ attempt, redelivered, messageId, headers }) => {
          attempts.push({ attempt, redelivered, messageId, headers, atMs: performance.now() });
          return attempt < 4 ? fail("not yet") : ACK;
        }),
      );
      const message = textMessage("again", { kept: "yes" });
      await queues.driver.publish(queue, message);
      await until("a first failure that waits", async () => attempts.length === 1 && (await queues.driver.stats(queue))?.unacked === 0);
      await until("the fourth attempt", () => attempts.length === 4);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(
        attempts.map(({ attempt, redelivered }) => [attempt, redelivered]),
        [
          [1, false],
          [2, true],
          [3, true],
          [4, true],
        ],
      );
      assert.ok(
        attempts.every(({ messageId, headers }) => messageId === message.messageId && JSON.stringify(headers) === '{"kept":"yes"}'),
      );
      const waits = attempts.slice(1).map(({ atMs }, index) => atMs - (attempts[index]?.atMs ?? 0));
      // Timers may fire a millisecond early by this clock.
      assert.ok(
        waits.every((waitMs, index) => waitMs >= ([100, 200, 400][index] ?? 0) - 2),
        `waits: ${waits.join(", ")}`,
      );
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a message that waits for its retry counts as ready", async () => {
      const queue = await queues.declared("waiting");
      let failed = false;
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async ({ attempt }) => ((failed = true), attempt === 1 ? fail("no") : ACK)),
      );
      await queues.driver.publish(queue, textMessage("wait"));
      await until("waiting", async () => failed && (await queues.driver.stats(queue))?.ready === 1);
      await until("done", async () => (await queues.driver.stats(queue))?.ready === 0);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("after the last attempt it is a dead letter that says why, and can be consumed", async () => {
      const queue = await queues.declared("dead");
      const consumer = queues.driver.consume(subscriptionOf(queue, async ({ attempt }) => fail(`broken ${attempt}`), { maxAttempts: 2 }));
      const message = textMessage("doomed", { "x-tenant": "a" });
      await queues.driver.publish(queue, message);
      await until("dead", async () => (await queues.driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });

      const gate = new Gate();
      const undertaker = queues.driver.consume(subscriptionOf(`${queue}.dead`, gate.handle));
      await until("the dead letter", () => gate.entered.length === 1);
      const letter = gate.entered[0] as Delivery;
      gate.open();
      await undertaker.stop({ deadlineMs: 5_000 });
      assert.equal(textOf(letter), "doomed");
      assert.equal(letter.messageId, message.messageId);
      assert.equal(letter.contentType, "text/plain");
      assert.deepEqual([letter.attempt, letter.redelivered], [1, false]);
      const { "x-first-failed-at": firstFailedAt = "", "x-dead-at": deadAt = "", ...headers } = letter.headers;
      assert.deepEqual(headers, { "x-tenant": "a", "x-dead-reason": "broken 2", "x-attempts": "2", "x-original-queue": queue });
      const waitedMs = Date.parse(deadAt) - Date.parse(firstFailedAt);
      assert.ok(waitedMs >= 90 && waitedMs < 10_000, `${firstFailedAt} to ${deadAt}`);
      assert.equal((await queues.driver.stats(queue))?.dead, 0);
    });

    test("a handler that throws has failed", async () => {
      const queue = await queues.declared("throws");
      const consumer = queues.driver.consume(subscriptionOf(queue, () => Promise.reject(new Error("thrown")), { maxAttempts: 1 }));
      await queues.driver.publish(queue, textMessage("x"));
      await until("dead", async () => (await queues.driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("a release gives the message back without counting it", async () => {
      const queue = await queues.declared("release");
      const seen: [number, boolean][] = [];
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async ({ attempt, redelivered }) => (seen.push([attempt, redelivered]), seen.length < 4 ? RELEASE : ACK), {
          maxAttempts: 1,
        }),
      );
      await queues.driver.publish(queue, textMessage("back"));
      await until("four deliveries", () => seen.length === 4);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(seen, [
        [1, false],
        [1, true],
        [1, true],
        [1, true],
      ]);
      assert.deepEqual(await queues.driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a release after a failure keeps the count of failures", async () => {
      const queue = await queues.declared("kept-count");
      const attempts: number[] = [];
      const outcomes = [fail("one"), RELEASE, fail("two"), ACK];
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async ({ attempt }) => (attempts.push(attempt), outcomes[attempts.length - 1] ?? ACK)),
      );
      await queues.driver.publish(queue, textMessage("x"));
      await until("four deliveries", () => attempts.length === 4);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(attempts, [1, 2, 2, 3]);
    });

    test("a message that always fails holds up no other", async () => {
      const queue = await queues.declared("poison");
      const done: string[] = [];
      const consumer = queues.driver.consume(
        subscriptionOf(queue, async (delivery) => (textOf(delivery) === "poison" ? fail("poison") : (done.push(textOf(delivery)), ACK)), {
          concurrency: 1,
          maxAttempts: 3,
        }),
      );
      await publishTexts(queues.driver, queue, ["poison", ...Array.from({ length: 20 }, (_, index) => `good${index}`)]);
      await until(
        "the good ones done and the poison dead",
        async () => done.length === 20 && (await queues.driver.stats(queue))?.dead === 1,
      );
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal((await queues.driver.stats(queue))?.ready, 0);
    });
  });
}
