import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, test } from "node:test";
import { freeAddresses } from "../../../packages/server/src/peers/testing/test-gateway.ts";
import { createSigningKey } from "../../../packages/server/src/protocol/proof.ts";
import { waitFor } from "../../support/server.ts";
import { type CallOutcome, GatewayProcess } from "./gateway-process.ts";

const signingKey = await createSigningKey();
const ALL = "gateway-0,gateway-1,gateway-2";
let running: GatewayProcess[] = [];

afterEach(async () => {
  await Promise.all(running.map((gateway) => gateway.end()));
  running = [];
});

async function startGateways(concurrency: number): Promise<GatewayProcess[]> {
  const addresses = await freeAddresses(3);
  const candidates = addresses.map((address, i) => ({ id: `gateway-${i}`, address }));
  running = candidates.map((self) => new GatewayProcess({ self, candidates, signingKey, concurrency }));
  await Promise.all(running.map((gateway) => gateway.ready()));
  for (const gateway of running) await waitFor("all gateways to see all", async () => (await gateway.view()) === ALL);
  return running;
}

/** A function that the gateway of this name owns. */
async function uidOwnedBy(gateway: GatewayProcess, owner: string, from = 0): Promise<string> {
  for (let i = from; ; i++) if ((await gateway.order({ kind: "owner", uid: `function-${i}` })) === owner) return `function-${i}`;
}

/** Calls that follow each other until `stop`, handed in at these gateways in turn. */
function stream(gateways: readonly GatewayProcess[], uid: string, path: string): { stop(): Promise<CallOutcome[]> } {
  const outcomes: Promise<CallOutcome>[] = [];
  const stopping = new AbortController();
  const flow = (async () => {
    for (let i = 0; !stopping.signal.aborted && i < 20_000; i++) {
      outcomes.push(gateways[i % gateways.length]!.call(uid, path));
      await pause(3);
    }
  })();
  return {
    async stop() {
      stopping.abort();
      await flow;
      return Promise.all(outcomes);
    },
  };
}

test("of a steady stream of calls, only those inside a gateway that is killed fail", async () => {
  const [first, second, owner] = await startGateways(100);
  assert.ok(first && second && owner);
  const uid = await uidOwnedBy(first, owner.id);
  const calls = stream([first, second], uid, "/sleep/20");
  await pause(500);
  const killedAtMs = Date.now();
  owner.signal("SIGKILL");
  for (const gateway of [first, second])
    await waitFor("the owner to be left out", async () => (await gateway.view()) === "gateway-0,gateway-1", 5000);
  const leftOutAtMs = Date.now();
  await pause(500);
  const outcomes = await calls.stop();
  const failed = outcomes.filter(({ code }) => code !== undefined);
  for (const { code, details } of failed) assert.deepEqual([code, details?.reason], ["FUNCTION_CRASHED", "GatewayLost"]);
  assert.ok(
    failed.every(({ startedAtMs }) => startedAtMs < leftOutAtMs),
    "a call failed that came after the loss was known",
  );
  assert.ok(failed.length <= 60, `${failed.length} calls failed, some 15 were inside`);
  assert.ok(leftOutAtMs - killedAtMs < 2000, `left out after ${leftOutAtMs - killedAtMs} ms`);
  const later = outcomes.filter(({ startedAtMs }) => startedAtMs > leftOutAtMs);
  assert.ok(later.length > 50 && later.every(({ status, body }) => status === 201 && body !== owner.id));
  assert.ok(
    outcomes.some(({ body }) => body === owner.id),
    "calls went to the owner before",
  );
});

test("a gateway that stands still is left out within 2 s, and is back when it goes on", async () => {
  const [first, second, owner] = await startGateways(100);
  assert.ok(first && second && owner);
  const uid = await uidOwnedBy(first, owner.id);
  const calls = stream([first, second], uid, "/sleep/5");
  await pause(300);
  const stoppedAtMs = Date.now();
  owner.signal("SIGSTOP");
  for (const gateway of [first, second])
    await waitFor("the owner to be left out", async () => (await gateway.view()) === "gateway-0,gateway-1", 5000);
  const silentMs = Date.now() - stoppedAtMs;
  // The time of a ping, and what a busy machine adds.
  assert.ok(silentMs > 1000 && silentMs < 4500, `left out after ${silentMs} ms`);
  await pause(500);
  const outcomes = await calls.stop();
  const failed = outcomes.filter(({ code }) => code !== undefined);
  for (const { code, details } of failed) assert.deepEqual([code, details?.reason], ["FUNCTION_CRASHED", "GatewayLost"]);
  assert.ok(
    failed.every(({ startedAtMs }) => startedAtMs < stoppedAtMs + 2000),
    "new calls wait for the new owner",
  );
  const waited = outcomes.filter(({ startedAtMs, code }) => startedAtMs > stoppedAtMs + 1000 && code === undefined);
  assert.ok(waited.length > 0 && waited.every(({ tookMs }) => tookMs < 4000));
  owner.signal("SIGCONT");
  for (const gateway of running) await waitFor("all gateways to see all", async () => (await gateway.view()) === ALL, 5000);
  assert.equal((await first.call(uid, "/who")).body, owner.id);
});

test("a call that waited at a gateway that stands still runs elsewhere, and never there as well", async () => {
  const [first, , owner] = await startGateways(1);
  assert.ok(first && owner);
  const uid = await uidOwnedBy(first, owner.id);
  const inside = first.call(uid, "/hold");
  await waitFor("the call to begin", async () => ((await owner.order({ kind: "begun" })) as string[]).length === 1);
  const waiting = first.call(uid, "/who");
  await waitFor("the call to wait", async () => (await owner.order({ kind: "queued", uid })) === 1);
  // That it waits has been told once something that was said later has come.
  await first.call(await uidOwnedBy(first, owner.id, 1000), "/who");
  owner.signal("SIGSTOP");
  const moved = await waiting;
  assert.deepEqual([moved.status, moved.code], [201, undefined]);
  assert.notEqual(moved.body, owner.id);
  assert.equal((await inside).details?.reason, "GatewayLost");
  owner.signal("SIGCONT");
  await waitFor("all gateways to be seen", async () => (await first.view()) === ALL);
  await owner.order({ kind: "release" });
  assert.equal((await first.call(uid, "/who")).body, owner.id);
  assert.ok(!((await owner.order({ kind: "begun" })) as string[]).includes(moved.id), "it was run twice");
});

test("a gateway that drains takes no call with it", async () => {
  const gateways = await startGateways(100);
  const [first, second, owner] = gateways;
  assert.ok(first && second && owner);
  const uid = await uidOwnedBy(first, owner.id);
  const calls = stream(gateways, uid, "/sleep/20");
  await pause(300);
  await owner.order({ kind: "drain" });
  assert.equal(await first.view(), "gateway-0,gateway-1");
  assert.equal(await second.view(), "gateway-0,gateway-1");
  await pause(300);
  const outcomes = await calls.stop();
  assert.deepEqual(
    outcomes.filter(({ code }) => code !== undefined),
    [],
  );
  assert.ok(outcomes.some(({ body }) => body === owner.id) && outcomes.at(-1)!.body !== owner.id);
});
