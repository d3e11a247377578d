import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import type { Delivery, QueueDriver } from "../../../packages/server/src/queue/port.ts";
import type { RetryPolicy } from "../../../packages/server/src/queue/retry.ts";
import { startConsumerProcess } from "./consumer-process.ts";
import { ACK, Gate, fail, publishTexts, RELEASE, subscriptionOf, textMessage, textOf, uniqueQueue, until } from "./queue-support.ts";

/** Short, so that a test need not wait for minutes. */
export const TEST_POLICY: RetryPolicy = { firstDelayMs: 100, maxDelayMs: 400 };

/** Where a driver keeps its queues; also for a process of its own. */
export type QueueLocation = { kind: "rabbitmq"; url: string } | { kind: "embedded"; folder: string };

export interface QueueHarness {
  location: QueueLocation;
  /** Opens the queues as a starting server does; on the same place after the one before was stopped. */
  open(): Promise<QueueDriver>;
  dispose(): Promise<void>;
}

/** What every queue driver has to do, whatever it is made of. */
export function testQueueDriver(name: string, createHarness: () => Promise<QueueHarness>, skip: string | undefined): void {
  describe(`queues: ${name}`, { skip: skip ?? false }, () => {
    let harness: QueueHarness;
    let driver: QueueDriver;

    before(async () => {
      harness = await createHarness();
      driver = await harness.open();
      await until("connected", () => driver.connected);
    });
    after(async () => {
      await driver?.stop({ deadlineMs: 0 });
      await harness?.dispose();
    });

    async function restart(deadlineMs: number): Promise<void> {
      await driver.stop({ deadlineMs });
      driver = await harness.open();
      await until("connected again", () => driver.connected);
    }

    async function declared(word: string): Promise<string> {
      const queue = uniqueQueue(word);
      await driver.declare({ queue });
      return queue;
    }

    test("a message arrives as it was sent", async () => {
      const queue = await declared("sent");
      const message = { ...textMessage("hello", { "x-tenant": "a", Region: "eu" }), contentType: "application/json" };
      await driver.publish(queue, message);
      const gate = new Gate();
      const consumer = driver.consume(subscriptionOf(queue, gate.handle));
      await until("delivered", () => gate.entered.length === 1);
      const { signal: _, ...delivery } = gate.entered[0] as Delivery;
      assert.deepEqual(delivery, { ...message, attempt: 1, redelivered: false });
      gate.open();
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("bodies may be empty, of any bytes and 6 MiB long", async () => {
      const queue = await declared("bodies");
      const bodies = [Buffer.alloc(0), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), randomBytes(6 * 1024 * 1024)];
      for (const body of bodies) await driver.publish(queue, { messageId: "same", headers: {}, body });
      const received: Delivery[] = [];
      const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK), { concurrency: 1 }));
      await until("all delivered", () => received.length === 3);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.ok(received.every((delivery, index) => delivery.body.equals(bodies[index] as Buffer)));
      assert.ok(received.every((delivery) => delivery.contentType === undefined));
    });

    test("a queue that nobody declared is not found", async () => {
      const queue = uniqueQueue("nowhere");
      await assert.rejects(
        driver.publish(queue, textMessage("lost")),
        (error) => error instanceof KsError && error.code === "QUEUE_NOT_FOUND" && error.message.includes(queue),
      );
      assert.equal(await driver.stats(queue), undefined);
    });

    test("what no broker could take is refused, saying why", async () => {
      const queue = await declared("limits");
      const codeOf = (target: string, overrides: object): Promise<unknown> =>
        driver
          .publish(target, { ...textMessage("x"), ...overrides })
          .catch((error: unknown) => (error instanceof KsError ? error.code : error));
      assert.equal(await codeOf("q".repeat(256), {}), "QUEUE_NOT_FOUND");
      assert.equal(await driver.stats("q".repeat(256)), undefined);
      assert.equal(await codeOf(queue, { contentType: "c".repeat(256) }), "BAD_REQUEST");
      assert.equal(await codeOf(queue, { messageId: "i".repeat(256) }), "BAD_REQUEST");
      assert.equal(await codeOf(queue, { headers: { ["h".repeat(256)]: "" } }), "BAD_REQUEST");
      assert.equal((await driver.stats(queue))?.ready, 0);
    });

    test("stats count what waits, what is in flight and what is dead", async () => {
      const queue = await declared("stats");
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
      await publishTexts(driver, queue, ["a", "b", "c", "d"]);
      await until("four ready", async () => (await driver.stats(queue))?.ready === 4);
      const gate = new Gate();
      const consumer = driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 3, maxAttempts: 1 }));
      await until("three in flight", async () => {
        const stats = await driver.stats(queue);
        return stats?.ready === 1 && stats.unacked === 3;
      });
      gate.open(fail("no"));
      await until("the fourth in flight", () => gate.entered.length === 4);
      gate.open();
      await consumer.stop({ deadlineMs: 5_000 });
      await until("three dead", async () => (await driver.stats(queue))?.dead === 3);
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 3 });
    });

    test("messages come in the order in which they were published", async () => {
      const queue = await declared("order");
      const texts = Array.from({ length: 50 }, (_, index) => `m${index}`);
      await publishTexts(driver, queue, texts);
      const received: string[] = [];
      const consumer = driver.consume(
        subscriptionOf(queue, async (delivery) => (received.push(textOf(delivery)), ACK), { concurrency: 1 }),
      );
      await until("all delivered", () => received.length === texts.length);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received, texts);
    });

    test("many messages published at once are each delivered once", async () => {
      const queue = await declared("many");
      const messages = Array.from({ length: 500 }, (_, index) => textMessage(`m${index}`));
      const received: string[] = [];
      const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery.messageId), ACK)));
      await Promise.all(messages.map((message) => driver.publish(queue, message)));
      await until("all delivered", () => received.length >= messages.length);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received.toSorted(), messages.map((message) => message.messageId).toSorted());
    });

    test("a failure is tried again after a wait that grows", async () => {
      const queue = await declared("retry");
      const attempts: { attempt: number; redelivered: boolean; messageId: string; headers: object; atMs: number }[] = [];
      const consumer = driver.consume(
        subscriptionOf(queue, async ({ attempt, redelivered, messageId, headers }) => {
          attempts.push({ attempt, redelivered, messageId, headers, atMs: performance.now() });
          return attempt < 4 ? fail("not yet") : ACK;
        }),
      );
      const message = textMessage("again", { kept: "yes" });
      await driver.publish(queue, message);
      await until("a first failure that waits", async () => attempts.length === 1 && (await driver.stats(queue))?.unacked === 0);
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
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a message that waits for its retry counts as ready", async () => {
      const queue = await declared("waiting");
      let failed = false;
      const consumer = driver.consume(subscriptionOf(queue, async ({ attempt }) => ((failed = true), attempt === 1 ? fail("no") : ACK)));
      await driver.publish(queue, textMessage("wait"));
      await until("waiting", async () => failed && (await driver.stats(queue))?.ready === 1);
      await until("done", async () => (await driver.stats(queue))?.ready === 0);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("after the last attempt it is a dead letter that says why, and can be consumed", async () => {
      const queue = await declared("dead");
      const consumer = driver.consume(subscriptionOf(queue, async ({ attempt }) => fail(`broken ${attempt}`), { maxAttempts: 2 }));
      const message = textMessage("doomed", { "x-tenant": "a" });
      await driver.publish(queue, message);
      await until("dead", async () => (await driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });

      const gate = new Gate();
      const undertaker = driver.consume(subscriptionOf(`${queue}.dead`, gate.handle));
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
      assert.equal((await driver.stats(queue))?.dead, 0);
    });

    test("a handler that throws has failed", async () => {
      const queue = await declared("throws");
      const consumer = driver.consume(subscriptionOf(queue, () => Promise.reject(new Error("thrown")), { maxAttempts: 1 }));
      await driver.publish(queue, textMessage("x"));
      await until("dead", async () => (await driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("a release gives the message back without counting it", async () => {
      const queue = await declared("release");
      const seen: [number, boolean][] = [];
      const consumer = driver.consume(
        subscriptionOf(queue, async ({ attempt, redelivered }) => (seen.push([attempt, redelivered]), seen.length < 4 ? RELEASE : ACK), {
          maxAttempts: 1,
        }),
      );
      await driver.publish(queue, textMessage("back"));
      await until("four deliveries", () => seen.length === 4);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(seen, [
        [1, false],
        [1, true],
        [1, true],
        [1, true],
      ]);
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a release after a failure keeps the count of failures", async () => {
      const queue = await declared("kept-count");
      const attempts: number[] = [];
      const outcomes = [fail("one"), RELEASE, fail("two"), ACK];
      const consumer = driver.consume(
        subscriptionOf(queue, async ({ attempt }) => (attempts.push(attempt), outcomes[attempts.length - 1] ?? ACK)),
      );
      await driver.publish(queue, textMessage("x"));
      await until("four deliveries", () => attempts.length === 4);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(attempts, [1, 2, 2, 3]);
    });

    test("a message that always fails holds up no other", async () => {
      const queue = await declared("poison");
      const done: string[] = [];
      const consumer = driver.consume(
        subscriptionOf(queue, async (delivery) => (textOf(delivery) === "poison" ? fail("poison") : (done.push(textOf(delivery)), ACK)), {
          concurrency: 1,
          maxAttempts: 3,
        }),
      );
      await publishTexts(driver, queue, ["poison", ...Array.from({ length: 20 }, (_, index) => `good${index}`)]);
      await until("the good ones done and the poison dead", async () => done.length === 20 && (await driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal((await driver.stats(queue))?.ready, 0);
    });

    test("no more than `concurrency` are in flight", async () => {
      const queue = await declared("concurrency");
      let [inFlight, most, done] = [0, 0, 0];
      const consumer = driver.consume(
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
        driver,
        queue,
        Array.from({ length: 40 }, () => "x"),
      );
      await until("all done", () => done === 40);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal(most, 3);
    });

    test("a queue whose function hangs does not starve another", async () => {
      const [slow, fast] = [await declared("slow"), await declared("fast")];
      const gate = new Gate();
      let done = 0;
      const slowConsumer = driver.consume(subscriptionOf(slow, gate.handle, { concurrency: 2 }));
      const fastConsumer = driver.consume(subscriptionOf(fast, async () => (done++, ACK), { concurrency: 2 }));
      await publishTexts(
        driver,
        slow,
        Array.from({ length: 30 }, () => "slow"),
      );
      await until("the slow ones hang", () => gate.entered.length === 2);
      await publishTexts(
        driver,
        fast,
        Array.from({ length: 30 }, () => "fast"),
      );
      await until("the fast ones are done", () => done === 30, 5_000);
      assert.equal(gate.entered.length, 2);
      await Promise.all([slowConsumer.stop({ deadlineMs: 0 }), fastConsumer.stop({ deadlineMs: 5_000 })]);
    });

    test("two consumers share a queue, and one that hangs leaves the rest to the other", async () => {
      const queue = await declared("shared");
      const gate = new Gate();
      const done: string[] = [];
      const hanging = driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 1 }));
      const working = driver.consume(subscriptionOf(queue, async (delivery) => (done.push(textOf(delivery)), ACK), { concurrency: 1 }));
      await publishTexts(
        driver,
        queue,
        Array.from({ length: 30 }, (_, index) => `m${index}`),
      );
      await until("the rest is done", () => done.length === 29 && gate.entered.length === 1);
      gate.open();
      await Promise.all([hanging.stop({ deadlineMs: 5_000 }), working.stop({ deadlineMs: 5_000 })]);
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a consumer with an exchange makes the queue exist", async () => {
      const queue = uniqueQueue("bound");
      const received: string[] = [];
      const handle = async (delivery: Delivery) => (received.push(textOf(delivery)), ACK);
      const consumer = driver.consume(subscriptionOf(queue, handle, { exchange: uniqueQueue("exchange") }));
      await until("the queue is there", async () => (await driver.stats(queue)) !== undefined);
      await driver.publish(queue, textMessage("through"));
      await until("delivered", () => received.length === 1);
      await consumer.stop({ deadlineMs: 5_000 });
    });

    test("stopping waits for what is in flight, and takes nothing new", async () => {
      const queue = await declared("stop");
      const gate = new Gate();
      const consumer = driver.consume(subscriptionOf(queue, gate.handle, { concurrency: 1 }));
      await publishTexts(driver, queue, ["first", "second"]);
      await until("the first in flight", () => gate.entered.length === 1);
      const stopped = consumer.stop({ deadlineMs: 10_000 });
      await until("the second is left", async () => (await driver.stats(queue))?.ready === 1);
      assert.equal(gate.entered[0]?.signal.aborted, false);
      gate.open();
      await stopped;
      assert.equal(gate.entered.length, 1);
      assert.deepEqual(await driver.stats(queue), { ready: 1, unacked: 0, dead: 0 });
    });

    test("what is in flight at the deadline of a stop is given back uncounted", async () => {
      const queue = await declared("deadline");
      const gate = new Gate();
      const consumer = driver.consume(subscriptionOf(queue, gate.handle, { maxAttempts: 1 }));
      await publishTexts(driver, queue, ["a", "b", "c"]);
      await until("in flight", () => gate.entered.length === 3);
      await consumer.stop({ deadlineMs: 50 });
      assert.ok(gate.entered.every(({ signal }) => signal.aborted));
      await until("given back", async () => (await driver.stats(queue))?.ready === 3);

      const next = new Gate();
      const successor = driver.consume(subscriptionOf(queue, next.handle, { maxAttempts: 1 }));
      await until("delivered again", () => next.entered.length === 3);
      assert.ok(next.entered.every(({ attempt, redelivered }) => attempt === 1 && redelivered));
      next.open();
      await successor.stop({ deadlineMs: 5_000 });
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("messages, retries and dead letters live through a restart of the server, and calls within come back", async () => {
      const queue = await declared("restart");
      const gate = new Gate();
      driver.consume(
        subscriptionOf(
          queue,
          async (delivery) => {
            if (textOf(delivery) === "bad") return fail("bad");
            return await gate.handle(delivery);
          },
          { concurrency: 3, maxAttempts: 1 },
        ),
      );
      await publishTexts(driver, queue, ["bad", "a", "b", "c", "d", "e"]);
      await until("three in flight", () => gate.entered.length === 3);
      await until("one dead", async () => (await driver.stats(queue))?.dead === 1);
      await restart(50);
      await until("all there", async () => (await driver.stats(queue))?.ready === 5);
      assert.equal((await driver.stats(queue))?.dead, 1);
      const received: Delivery[] = [];
      const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK), { maxAttempts: 1 }));
      await until("all done", () => received.length === 5);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.deepEqual(received.map(textOf).toSorted(), ["a", "b", "c", "d", "e"]);
      assert.ok(received.every(({ attempt }) => attempt === 1));
    });

    test("what a killed server had in flight comes again, counted as an attempt", async () => {
      const queue = await declared("killed");
      await publishTexts(driver, queue, ["a", "b", "c", "d"]);
      await driver.stop({ deadlineMs: 0 });
      const victim = await startConsumerProcess(harness.location, queue, { concurrency: 3, maxAttempts: 5, behaviour: "hang" });
      await until("three in flight", () => victim.received.length === 3);
      await victim.kill();
      driver = await harness.open();
      await until("connected", () => driver.connected);
      const received: Delivery[] = [];
      const consumer = driver.consume(subscriptionOf(queue, async (delivery) => (received.push(delivery), ACK)));
      await until("all delivered", () => received.length >= 4);
      await consumer.stop({ deadlineMs: 5_000 });
      const attempts = Object.fromEntries(received.map((delivery) => [textOf(delivery), [delivery.attempt, delivery.redelivered]]));
      assert.deepEqual(attempts, { a: [2, true], b: [2, true], c: [2, true], d: [1, false] });
      assert.deepEqual(await driver.stats(queue), { ready: 0, unacked: 0, dead: 0 });
    });

    test("a message that takes the server down every time is dead after its attempts", async () => {
      const queue = await declared("killer");
      await publishTexts(driver, queue, ["killer"]);
      await driver.stop({ deadlineMs: 0 });
      for (let round = 1; round <= 2; round++) {
        const victim = await startConsumerProcess(harness.location, queue, { concurrency: 1, maxAttempts: 2, behaviour: "hang" });
        await until("in flight", () => victim.received.length === 1);
        assert.equal(victim.received[0]?.attempt, round);
        await victim.kill();
      }
      driver = await harness.open();
      await until("connected", () => driver.connected);
      let handled = 0;
      const consumer = driver.consume(subscriptionOf(queue, async () => (handled++, ACK), { maxAttempts: 2 }));
      await until("dead", async () => (await driver.stats(queue))?.dead === 1);
      await consumer.stop({ deadlineMs: 5_000 });
      assert.equal(handled, 0);
    });
  });
}
