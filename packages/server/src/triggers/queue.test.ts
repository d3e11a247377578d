import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { systemClock } from "../clock.ts";
import { silentLog } from "../queue/log.ts";
import type { QueueDriver } from "../queue/port.ts";
import { EMBEDDED_QUEUE_MODULE, openEmbeddedQueues } from "../queue/sqlite/driver.ts";
import { createSqliteClient, type SqliteClient } from "../store/sqlite/client.ts";
import { decideAfterInvocation, type InvocationResult, type QueueInvocation, QueueTriggers } from "./queue.ts";

interface Call {
  uid: string;
  invocation: QueueInvocation;
  answer(result: InvocationResult): void;
}

const OK: InvocationResult = { ok: true };
const THROWN: InvocationResult = { ok: false, code: "FUNCTION_ERROR", reason: "boom", reachedHandler: true };
const NO_PLACE: InvocationResult = { ok: false, code: "NO_CAPACITY", reason: "No capacity", reachedHandler: false };

let folder: string;
let client: SqliteClient;
let driver: QueueDriver;
let triggers: QueueTriggers;
let calls: Call[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "ks-queue-trigger-"));
  const onFatal = (error: Error): void => {
    throw error;
  };
  client = await createSqliteClient({ folder, modules: [EMBEDDED_QUEUE_MODULE], onFatal });
  driver = await openEmbeddedQueues({ client, retryPolicy: { firstDelayMs: 10, maxDelayMs: 10 } });
  calls = [];
  const invoke = (uid: string, invocation: QueueInvocation): Promise<InvocationResult> =>
    new Promise((answer) => calls.push({ uid, invocation, answer }));
  triggers = new QueueTriggers({ driver, invoke, clock: systemClock, log: silentLog });
});

afterEach(async () => {
  await triggers.stop({ deadlineMs: 0 });
  await driver.stop({ deadlineMs: 0 });
  await client.stop();
  await rm(folder, { recursive: true });
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error("The condition did not come true in 10 s");
    await wait(5);
  }
}

async function publish(queue: string, body: string, headers: Record<string, string> = {}, contentType?: string): Promise<void> {
  await driver.declare({ queue });
  await driver.publish(queue, {
    messageId: `id-${body}`,
    body: Buffer.from(body),
    headers,
    ...(contentType === undefined ? {} : { contentType }),
  });
}

async function nextCall(count: number): Promise<Call> {
  await until(() => calls.length >= count);
  return calls[count - 1] as Call;
}

test("a message becomes a call with the documented event", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders", exchange: "shop" } }]);
  await publish("orders", '{"a":1}', { "X-Tenant": "a", "x-tenant": "b" }, "application/json");
  const { uid, invocation, answer } = await nextCall(1);
  const { signal: _, body, ...rest } = invocation;
  assert.equal(uid, "u1");
  assert.equal(body.toString(), '{"a":1}');
  assert.deepEqual(rest, {
    method: "POST",
    path: "/queue",
    headers: { "x-tenant": "a, b", "content-type": "application/json" },
    trigger: { type: "queue", queue: "orders", exchange: "shop", messageId: 'id-{"a":1}', attempt: 1, redelivered: false },
  });
  answer(OK);
  await until(async () => (await driver.stats("orders"))?.unacked === 0);
  assert.deepEqual(await driver.stats("orders"), { ready: 0, unacked: 0, dead: 0 });
});

test("a throw is tried again as the next attempt and ends among the dead letters", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders", maxAttempts: 2 } }]);
  await publish("orders", "x");
  (await nextCall(1)).answer(THROWN);
  const second = await nextCall(2);
  assert.deepEqual([second.invocation.trigger.attempt, second.invocation.trigger.redelivered], [2, true]);
  second.answer(THROWN);
  await until(async () => (await driver.stats("orders"))?.dead === 1);
});

test("a function without a place gets the message again, uncounted", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders", maxAttempts: 1 } }]);
  await publish("orders", "x");
  (await nextCall(1)).answer(NO_PLACE);
  (await nextCall(2)).answer(NO_PLACE);
  const third = await nextCall(3);
  assert.equal(third.invocation.trigger.attempt, 1);
  third.answer(OK);
  await until(async () => (await driver.stats("orders"))?.unacked === 0);
  assert.deepEqual(await driver.stats("orders"), { ready: 0, unacked: 0, dead: 0 });
});

test("an update that leaves a trigger alone does not disturb its calls", async () => {
  const orders = { uid: "u1", config: { queue: "orders" } };
  triggers.sync([orders]);
  await publish("orders", "x");
  const call = await nextCall(1);
  triggers.sync([{ uid: "u2", config: { queue: "other" } }, structuredClone(orders)]);
  await publish("other", "y");
  assert.equal((await nextCall(2)).uid, "u2");
  assert.equal(call.invocation.signal.aborted, false);
  call.answer(OK);
  await until(async () => (await driver.stats("orders"))?.unacked === 0);
  assert.equal((await driver.stats("orders"))?.ready, 0);
});

test("a trigger that is gone takes no more messages, and its call within still counts", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders", concurrency: 1 } }]);
  await publish("orders", "first");
  const call = await nextCall(1);
  triggers.sync([]);
  await publish("orders", "second");
  call.answer(OK);
  await until(async () => (await driver.stats("orders"))?.unacked === 0);
  assert.deepEqual(await driver.stats("orders"), { ready: 1, unacked: 0, dead: 0 });
  assert.equal(calls.length, 1);
});

test("a change of its settings takes effect on a trigger that lives on", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders", concurrency: 1 } }]);
  await publish("orders", "a");
  await nextCall(1);
  triggers.sync([{ uid: "u1", config: { queue: "orders", concurrency: 2 } }]);
  for (const body of ["b", "c", "d"]) await publish("orders", body);
  await nextCall(3);
  calls[0]?.answer(OK);
  await until(async () => (await driver.stats("orders"))?.unacked === 2);
  assert.equal(calls.length, 3);
});

test("stopping gives back at once what waits for its function, and at the deadline what runs", async () => {
  triggers.sync([{ uid: "u1", config: { queue: "orders" } }]);
  await publish("orders", "runs");
  await nextCall(1);
  await publish("orders", "waits");
  (await nextCall(2)).answer(NO_PLACE);
  const stopped = triggers.stop({ deadlineMs: 300 });
  await until(async () => (await driver.stats("orders"))?.ready === 1);
  assert.equal(calls[0]?.invocation.signal.aborted, false);
  await stopped;
  assert.equal(calls[0]?.invocation.signal.aborted, true);
  assert.deepEqual(await driver.stats("orders"), { ready: 2, unacked: 0, dead: 0 });
});

test("what a call's end means for its message", () => {
  const outcome = (code: string, reachedHandler: boolean): unknown => {
    const decision = decideAfterInvocation({ ok: false, code, reason: "why", reachedHandler } as InvocationResult);
    return decision === "hold" ? "hold" : decision.kind;
  };
  const counted = ["FUNCTION_ERROR", "FUNCTION_CRASHED", "FUNCTION_OUT_OF_MEMORY", "TIMEOUT", "RESPONSE_TOO_LARGE"];
  assert.deepEqual(
    counted.map((code) => outcome(code, true)),
    counted.map(() => "fail"),
  );
  const held = ["NO_CAPACITY", "OVERLOADED", "DRAINING", "STORE_UNAVAILABLE", "FUNCTION_FAILED", "FUNCTION_NOT_FOUND", "FUNCTION_CRASHED"];
  assert.deepEqual(
    held.map((code) => outcome(code, false)),
    held.map(() => "hold"),
  );
  assert.equal(outcome("DRAINING", true), "hold");
  assert.equal(outcome("BODY_TOO_LARGE", false), "fail");
  assert.deepEqual(decideAfterInvocation(THROWN), { kind: "fail", reason: "FUNCTION_ERROR: boom" });
});
