import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { openQueues } from "./open-queues.ts";
import { ACK, Gate, subscriptionOf, until } from "./queue-support.ts";

const COUNT = 100_000;

async function fill(driver: QueueDriver, queue: string): Promise<void> {
  let left = COUNT;
  const publish = async (): Promise<void> => {
    while (left-- > 0) await driver.publish(queue, { messageId: `m${left}`, headers: {}, body: Buffer.alloc(200) });
  };
  await Promise.all(Array.from({ length: 500 }, publish));
}

test("with 100,000 messages waiting a server starts, counts and delivers within a second", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ks-queue-size-"));
  let driver = await openQueues({ kind: "embedded", folder });
  await driver.declare({ queue: "full" });
  await fill(driver, "full");
  await driver.stop({ deadlineMs: 0 });

  const began = performance.now();
  driver = await openQueues({ kind: "embedded", folder });
  assert.equal((await driver.stats("full"))?.ready, COUNT);
  const gate = new Gate();
  const consumer = driver.consume(subscriptionOf("full", gate.handle));
  await until("the first messages", () => gate.entered.length === 10);
  const tookMs = performance.now() - began;
  assert.ok(tookMs < 1_000, `${tookMs} ms`);

  gate.open(ACK);
  await consumer.stop({ deadlineMs: 0 });
  await driver.stop({ deadlineMs: 0 });
  await rm(folder, { recursive: true });
});
