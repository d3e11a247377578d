import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { readVolume } from "../../support/fault-volume.ts";
import { disposeRabbitMq, type RabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { BROKER_FAULTS } from "./broker-faults.ts";
import { Gate, subscriptionOf, textMessage, uniqueQueue, until } from "./queue-support.ts";
import { TEST_POLICY } from "./harness.ts";
import { isUnavailable, Workload } from "./workload.ts";

const REPLY_LIMIT_MS = 2_000;
/** A queue that was just made gets its first message so late. */
const SETTLE_MS = 2_000;
const RECOVERY_LIMIT_MS = 60_000;
/** A wait for the connection, one for a new queue, and one for the confirm. */
const PUBLISH_LIMIT_MS = 2_000 + SETTLE_MS + REPLY_LIMIT_MS + 1_500;
/** A fault comes again and again for so long; at least once. */
const FAULT_SECONDS = readVolume("KS_BROKER_SECONDS", { brief: 1, full: 25 });

describe("RabbitMQ over a broken network", { skip: rabbitMqMissing() ?? false }, () => {
  let broker: RabbitMq;
  let proxy: TcpProxy;
  let driver: QueueDriver;
  let workload: Workload | undefined;

  before(async () => {
    broker = await sharedRabbitMq();
  });
  after(disposeRabbitMq);
  beforeEach(async () => {
    proxy = await TcpProxy.start(broker.port);
    // A beat a second, so that a dead peer is noticed within the test.
    const url = `amqp://guest:guest@127.0.0.1:${proxy.port}?heartbeat=1`;
    driver = createAmqpQueues({ url, retryPolicy: TEST_POLICY, replyLimitMs: REPLY_LIMIT_MS, settleMs: SETTLE_MS });
    await until("connected", () => driver.connected);
  });
  afterEach(async () => {
    proxy.heal();
    await workload?.stopPublishing();
    workload = undefined;
    await driver.stop({ deadlineMs: 0 });
    await proxy.stop();
  });

  test("a publish fails soon while the broker is away, and works when it is back", async () => {
    const queue = uniqueQueue("away");
    await driver.declare({ queue });
    proxy.refuse();
    await until("noticed", () => !driver.connected);
    const began = performance.now();
    await assert.rejects(driver.publish(queue, textMessage("x")), isUnavailable);
    await assert.rejects(driver.stats(queue), isUnavailable);
    assert.ok(performance.now() - began < 6_000);
    proxy.heal();
    await until("connected again", () => driver.connected);
    await driver.publish(queue, textMessage("y"));
    await until("counted", async () => (await driver.stats(queue))?.ready === 1);
  });

  test("a publish over a half-open connection fails within its limit, and the connection is replaced", async () => {
    const queue = uniqueQueue("half-open");
    await driver.declare({ queue });
    proxy.swallow("up", "down");
    const began = performance.now();
    await assert.rejects(driver.publish(queue, textMessage("x")), isUnavailable);
    assert.ok(performance.now() - began < SETTLE_MS + REPLY_LIMIT_MS + 1_000);
    await until("noticed by the missing beats", () => !driver.connected, 10_000);
    proxy.heal();
    await until("connected again", () => driver.connected);
    await driver.publish(queue, textMessage("y"));
  });

  test("a call that outlives its connection is neither repeated nor lost", async () => {
    const queue = uniqueQueue("outlives");
    await driver.declare({ queue });
    const gate = new Gate();
    driver.consume(subscriptionOf(queue, gate.handle));
    await driver.publish(queue, textMessage("long"));
    await until("in flight", () => gate.entered.length === 1);
    proxy.reset();
    await until("noticed", () => !driver.connected);
    await until("connected again", () => driver.connected);
    await until("delivered again, to the same call", async () => (await driver.stats(queue))?.unacked === 2);
    gate.open();
    await until("done", async () => {
      const stats = await driver.stats(queue);
      return stats?.ready === 0 && stats.unacked === 0;
    });
    assert.equal(gate.entered.length, 1);
    assert.equal(gate.entered[0]?.signal.aborted, false);
  });

  test("a lost ack does not run the call again", async () => {
    const queue = uniqueQueue("lost-ack");
    await driver.declare({ queue });
    const gate = new Gate();
    driver.consume(subscriptionOf(queue, gate.handle));
    await driver.publish(queue, textMessage("once"));
    await until("in flight", () => gate.entered.length === 1);
    proxy.swallow("up");
    gate.open();
    await until("acked, as far as we know", () => gate.entered.length === 1);
    await pause(50);
    proxy.heal();
    await until("done", async () => {
      const stats = await driver.stats(queue).catch(() => undefined);
      return driver.connected && stats?.ready === 0 && stats.unacked === 0;
    });
    assert.equal(gate.entered.length, 1);
  });

  for (const { name, inflict } of BROKER_FAULTS) {
    test(`accepted = done + dead after ${name}`, { timeout: 300_000 }, async (t) => {
      const load = new Workload(driver, { recoveryMs: RECOVERY_LIMIT_MS, publishMs: PUBLISH_LIMIT_MS });
      workload = load;
      await load.start();
      const endMs = performance.now() + FAULT_SECONDS * 1_000;
      let rounds = 0;
      do {
        const doneBefore = load.books.done.size;
        await until("well under way", () => load.books.done.size > doneBefore + 50, RECOVERY_LIMIT_MS);
        await inflict({ proxy, broker });
        proxy.heal();
        rounds++;
        await until("connected again", () => driver.connected, RECOVERY_LIMIT_MS);
        const acceptedBefore = load.books.accepted.size;
        const acceptsAgain = (): boolean => load.books.accepted.size > acceptedBefore + 20 || load.unexpected.length > 0;
        await until("accepting again", acceptsAgain, RECOVERY_LIMIT_MS).catch((error: Error) => {
          throw new Error(`${error.message}; the last publish: ${load.lastRefusal}`);
        });
      } while (performance.now() < endMs);
      await load.finish();
      const { accepted, done, dead } = load.books;
      t.diagnostic(`${rounds} rounds: ${accepted.size} accepted, ${done.size} done, ${dead.size} dead`);
    });
  }
});
