import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { createSigningKey } from "../protocol/proof.ts";
import { Ownership } from "./ownership.ts";
import { type CallResult, TestCluster, type TestGatewayOptions, waitUntil } from "./testing/test-gateway.ts";

const signingKey = await createSigningKey();
const clusters: TestCluster[] = [];

after(async () => {
  await Promise.all(clusters.map((cluster) => cluster.stop()));
});

async function startCluster(count: number, options?: TestGatewayOptions, started?: number): Promise<TestCluster> {
  const cluster = await TestCluster.start(signingKey, count, options, started);
  clusters.push(cluster);
  await cluster.agreed();
  return cluster;
}

/** A function of another owner that will be this gateway's once it is there. */
function uidThatMovesTo(cluster: TestCluster, newcomer: string): string {
  const ownership = new Ownership(newcomer);
  ownership.follow({ epoch: 1, members: cluster.identities.map(({ id }) => id) });
  for (let i = 0; ; i++) if (ownership.isOwner(`moving-${i}`)) return `moving-${i}`;
}

const text = ({ body }: CallResult): string => body.toString();

describe("forwarding", () => {
  test("a call goes to the owner, whichever gateway it comes to, and its answer comes back as it is", async () => {
    const cluster = await startCluster(3);
    const uid = cluster.uidOwnedBy("gateway-1");
    for (const gateway of cluster.gateways) {
      assert.equal(text(await gateway.call(uid, "/who").result), "gateway-1");
    }
    const { status, body, call } = await cluster.gateway("gateway-0").call(uid, "/head").result;
    assert.equal(status, 201);
    const { id, query, headers, traceparent, ...rest } = JSON.parse(body.toString()) as Record<string, unknown>;
    assert.deepEqual(
      { id, query, headers, traceparent },
      {
        id: "gateway-0-1",
        query: { a: "1" },
        headers: { "x-some": "thing" },
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      },
    );
    assert.ok(!("uid" in rest) && !("last" in rest), "what gateways tell each other is nothing for the function");
    assert.equal(call.durationMs, 2);
    assert.equal(call.times.revision, 4);
    assert.ok(call.ended);
    assert.ok(call.reached);
  });

  test("that a call was cold, and for how long, is told where it came from", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const cold = await cluster.gateway("gateway-0").call(uid, "/who").result;
    assert.equal(cold.call.times.cold, true);
    assert.equal(cold.call.times.startMs, 3);
    assert.ok(cold.call.times.loadMs > 0);
    const warm = await cluster.gateway("gateway-0").call(uid, "/who").result;
    assert.equal(warm.call.times.cold, false);
    assert.ok(warm.call.times.sentAtMs >= warm.call.times.arrivedAtMs);
  });

  test("large bodies go both ways", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const body = Array.from({ length: 40 }, (_, i) => Buffer.alloc(100_000, i));
    const results = await Promise.all(Array.from({ length: 4 }, () => cluster.gateway("gateway-0").call(uid, "/echo", body).result));
    for (const result of results) assert.ok(result.body.equals(Buffer.concat(body)));
  });

  test("a caller that takes nothing holds up the function, and nobody else", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const slow = cluster.gateway("gateway-0").call(uid, "/stream/5000000", [], false);
    await waitUntil(() => slow.receivedBytes() >= 262_144 - 65_536);
    const { body } = await cluster.gateway("gateway-0").call(uid, "/stream/3000000").result;
    assert.equal(body.length, 3_000_000);
    assert.ok(slow.receivedBytes() <= 262_144, `${slow.receivedBytes()} bytes came without credit`);
    slow.call.abandon();
  });

  test("a function's error is told with all that belongs to it", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const { error, call } = await cluster.gateway("gateway-0").call(uid, "/error").result;
    assert.equal(error?.code, "FUNCTION_ERROR");
    assert.equal(error.message, "Internal server error: x is not y");
    assert.deepEqual(error.details, { type: "TypeError", durationMs: 7, stack: "at f" });
    assert.equal(call.durationMs, 7);
    assert.equal(call.reached, true);
  });

  test("a response that breaks off breaks off for the caller, too", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const { status, error } = await cluster.gateway("gateway-0").call(uid, "/abort").result;
    assert.equal(status, 200);
    assert.equal(error?.code, "FUNCTION_ERROR");
    assert.match(error.message, /torn/);
  });

  test("a refusal of the owner's queue is told with its figures and when to return", async () => {
    const cluster = await startCluster(2, { concurrency: 1, queueTimeoutMs: 50 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const first = cluster.gateway("gateway-0").call(uid, "/hold");
    const { error, call } = await cluster.gateway("gateway-0").call(uid, "/who").result;
    assert.equal(error?.code, "NO_CAPACITY");
    assert.equal(error.retryAfterMs, 1000);
    assert.equal((error.details as { maxReplicas: number }).maxReplicas, 1);
    assert.equal(call.reached, false);
    cluster.gateway("gateway-1").provider.trace.release[0]!();
    assert.equal(text(await first.result), "held");
  });

  test("a caller that leaves is told to the handler, and one that waits leaves the queue", async () => {
    const cluster = await startCluster(2, { concurrency: 1 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const owner = cluster.gateway("gateway-1");
    const running = cluster.gateway("gateway-0").call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    const queued = cluster.gateway("gateway-0").call(uid, "/who");
    await waitUntil(() => owner.dispatcher(uid).queued === 1);
    queued.call.abandon();
    running.call.abandon();
    await waitUntil(() => owner.provider.trace.cancelled === 1 && owner.dispatcher(uid).queued === 0);
    owner.provider.trace.release[0]!();
    await waitUntil(() => owner.ended.length === 2);
    assert.deepEqual(
      owner.ended.map(({ error }) => error?.code),
      ["CLIENT_CLOSED", "CLIENT_CLOSED"],
    );
    assert.deepEqual(owner.provider.trace.begun, [running.call.head.id]);
  });

  test("calls that waited in the owner's queue run when there is a place, oldest first", async () => {
    const cluster = await startCluster(2, { concurrency: 1 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const owner = cluster.gateway("gateway-1");
    const first = cluster.gateway("gateway-0").call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    const waiting = Array.from({ length: 5 }, () => cluster.gateway("gateway-0").call(uid, "/who"));
    await waitUntil(() => owner.dispatcher(uid).queued === 5);
    owner.provider.trace.release[0]!();
    const results = await Promise.all(waiting.map(({ result }) => result));
    assert.deepEqual(
      results.map(text),
      Array.from({ length: 5 }, () => "gateway-1"),
    );
    assert.deepEqual(
      owner.provider.trace.begun.slice(1),
      waiting.map(({ call }) => call.head.id),
    );
    assert.equal(text(await first.result), "held");
    assert.ok(
      results.every(({ call }) => call.times.sentAtMs > call.times.arrivedAtMs),
      "the wait is told",
    );
  });

  test("a function that the owner does not know yet is asked for again; one that nobody knows is not found", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const owner = cluster.gateway("gateway-1");
    owner.unknown.add(uid);
    const early = cluster.gateway("gateway-0").call(uid, "/who");
    setTimeout(() => owner.unknown.delete(uid), 100);
    assert.equal(text(await early.result), "gateway-1");
    owner.unknown.add(uid);
    assert.equal((await cluster.gateway("gateway-0").call(uid, "/who").result).error?.code, "FUNCTION_NOT_FOUND");
  });
});

describe("owners that change", () => {
  test("a gateway that comes takes its functions over, and calls go on", async () => {
    const cluster = await startCluster(3, {}, 2);
    const before = cluster.gateways[0]!.peers.view.epoch;
    await cluster.add(2);
    await cluster.agreed();
    const uid = cluster.uidOwnedBy("gateway-2");
    for (const gateway of cluster.gateways) assert.equal(text(await gateway.call(uid, "/who").result), "gateway-2");
    assert.equal(cluster.gateways[0]!.peers.view.epoch, before + 1);
  });

  test("a gateway that drains is seen by all, finishes what it has, and what waits goes to the new owner", async () => {
    const cluster = await startCluster(2, { concurrency: 1 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const [caller, owner] = [cluster.gateway("gateway-0"), cluster.gateway("gateway-1")];
    const running = caller.call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    const waiting = caller.call(uid, "/who");
    await waitUntil(() => owner.dispatcher(uid).queued === 1);
    await owner.peers.drain();
    assert.deepEqual(caller.peers.view.members, ["gateway-0"]);
    assert.equal(text(await waiting.result), "gateway-0");
    assert.equal(text(await owner.call(uid, "/who").result), "gateway-0", "what still comes to it is sent on");
    owner.provider.trace.release[0]!();
    assert.equal(text(await running.result), "held");
    assert.equal(owner.provider.trace.begun.length, 1);
  });

  test("a gateway that ends waits for the calls that others run for its callers", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    const [caller, owner] = [cluster.gateway("gateway-0"), cluster.gateway("gateway-1")];
    const running = caller.call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    let isSettled = false;
    const settling = caller.peers.settle(10_000).then(() => (isSettled = true));
    await caller.call(uid, "/who").result;
    assert.equal(isSettled, false);
    owner.provider.trace.release[0]!();
    await settling;
    assert.equal(text(await running.result), "held");
  });

  test("what waits at the old owner for callers of its own goes to the new one, too", async () => {
    const cluster = await startCluster(3, { concurrency: 1 }, 2);
    const uid = uidThatMovesTo(cluster, "gateway-2");
    const owner = cluster.gateway(cluster.gateways[0]!.peers.ownerOf(uid));
    const running = owner.call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    const waiting = owner.call(uid, "/who");
    assert.equal(owner.dispatcher(uid).queued, 1);
    await cluster.add(2);
    assert.equal(text(await waiting.result), "gateway-2");
    owner.provider.trace.release[0]!();
    assert.equal(text(await running.result), "held");
  });

  test("while two gateways see different owners no call is lost or goes round", async () => {
    const cluster = await startCluster(3);
    const uid = cluster.uidOwnedBy("gateway-1");
    // The owner's view runs ahead of the others': it gives their calls back, and is named when it sends its own on.
    cluster.gateway("gateway-1").peers.setState("starting");
    const results = await Promise.all(Array.from({ length: 30 }, (_, i) => cluster.gateways[i % 3]!.call(uid, "/who").result));
    for (const result of results) assert.match(text(result), /^gateway-[012]$/);
    const begun = cluster.gateways.flatMap(({ provider }) => provider.trace.begun);
    assert.equal(new Set(begun).size, 30);
    assert.equal(begun.length, 30, "each ran once");
  });
});

describe("gateways that are lost", () => {
  test("when the owner is gone, calls within fail with 502, those that waited and new ones go on", async () => {
    const cluster = await startCluster(2, { concurrency: 1 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const [caller, owner] = [cluster.gateway("gateway-0"), cluster.gateway("gateway-1")];
    const running = caller.call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    const waiting = caller.call(uid, "/who");
    await waitUntil(() => owner.dispatcher(uid).queued === 1);
    await owner.peers.stop();
    const { error, call } = await running.result;
    assert.equal(error?.status, 502);
    assert.match(error.message, /gateway-1\) was lost/);
    assert.ok(call.reached);
    assert.equal(text(await waiting.result), "gateway-0");
    assert.equal(text(await caller.call(uid, "/who").result), "gateway-0");
  });

  test("a gateway whose connection broke is dialled again", async () => {
    const cluster = await startCluster(2);
    const uid = cluster.uidOwnedBy("gateway-1");
    await cluster.gateway("gateway-1").peers.stop();
    await waitUntil(() => cluster.gateway("gateway-0").peers.view.members.length === 1);
    cluster.gateways.splice(1, 1);
    await cluster.add(1);
    await cluster.agreed();
    assert.equal(text(await cluster.gateway("gateway-0").call(uid, "/who").result), "gateway-1");
  });

  test("the calls of a gateway that is lost leave the owner", async () => {
    const cluster = await startCluster(2, { concurrency: 1 });
    const uid = cluster.uidOwnedBy("gateway-1");
    const owner = cluster.gateway("gateway-1");
    cluster.gateway("gateway-0").call(uid, "/hold");
    await waitUntil(() => owner.provider.trace.begun.length === 1);
    cluster.gateway("gateway-0").call(uid, "/who");
    await waitUntil(() => owner.dispatcher(uid).queued === 1);
    await cluster.gateway("gateway-0").peers.stop();
    await waitUntil(() => owner.dispatcher(uid).queued === 0 && owner.provider.trace.cancelled === 1);
  });
});
