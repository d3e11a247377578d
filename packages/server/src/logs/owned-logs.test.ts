import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import type { LogEntry } from "@kube-serverless/contracts";
import { systemClock } from "../clock.ts";
import { createSigningKey } from "../protocol/proof.ts";
import { TestCluster, type TestGateway, waitUntil } from "../peers/testing/test-gateway.ts";
import { TaskGroup } from "../task-group.ts";
import { createFunctionLogs, type LogSource } from "./function-logs.ts";
import { OwnedLogs } from "./owned-logs.ts";

const signingKey = await createSigningKey();
const SOURCE: LogSource = { stream: "stdout", requestId: "r1", replica: "p1", revision: 3 };
let ends: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const end of ends.reverse()) await end();
  ends = [];
});

function logsOf({ peers }: TestGateway, failures: unknown[]): OwnedLogs {
  const folder = mkdtempSync(join(tmpdir(), "ks-owned-logs-"));
  const tasks = new TaskGroup({ error: (fields) => failures.push(fields) });
  const logs = new OwnedLogs({
    gateways: peers,
    own: createFunctionLogs({ folder: join(folder, "own"), clock: systemClock }),
    inherited: createFunctionLogs({ folder: join(folder, "inherited"), clock: systemClock }),
    clock: systemClock,
    tasks,
  });
  ends.push(async () => {
    await logs.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return logs;
}

async function setUp(count: number, started = count) {
  const cluster = await TestCluster.start(signingKey, count, {}, started);
  ends.push(() => cluster.stop());
  await cluster.agreed();
  const failures: unknown[] = [];
  const logs = new Map(cluster.gateways.map((gateway) => [gateway.id, logsOf(gateway, failures)]));
  const print = (id: string, uid: string, text: string): void =>
    logs.get(id)!.appendLines(uid, SOURCE, Buffer.from(text), Date.now(), false);
  const read = async (id: string, uid: string, query = {}): Promise<string[]> =>
    (await logs.get(id)!.query(uid, query)).map(({ message }) => message);
  return { cluster, logs, print, read, failures };
}

test("a log is read behind every gateway, with its filters", async () => {
  const { cluster, print, read } = await setUp(2);
  const uid = cluster.uidOwnedBy("gateway-1");
  for (let i = 0; i < 150; i++) print("gateway-1", uid, `line ${i}`);
  for (const id of ["gateway-0", "gateway-1"]) {
    assert.equal((await read(id, uid)).length, 100);
    assert.deepEqual(await read(id, uid, { tail: 2 }), ["line 148", "line 149"]);
    assert.deepEqual(await read(id, uid, { requestId: "other" }), []);
  }
});

test("lines of calls that end elsewhere come to the owner's log", async () => {
  const { cluster, print, read } = await setUp(2);
  const uid = cluster.uidOwnedBy("gateway-1");
  print("gateway-0", uid, "late");
  for (let tries = 0; tries < 200 && (await read("gateway-1", uid)).length === 0; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(await read("gateway-1", uid), ["late"]);
});

test("when owners change by plan the log goes with the function, also before a gateway ends", async () => {
  const { cluster, logs, print, read, failures } = await setUp(2);
  const uid = cluster.uidOwnedBy("gateway-1");
  print("gateway-1", uid, "before\nthe end");
  await cluster.gateway("gateway-1").peers.drain();
  await logs.get("gateway-1")!.handOver();
  assert.deepEqual(await read("gateway-0", uid), ["before", "the end"]);
  print("gateway-0", uid, "afterwards");
  assert.deepEqual(await read("gateway-0", uid), ["before", "the end", "afterwards"]);
  assert.deepEqual(await read("gateway-0", uid, { tail: 1 }), ["afterwards"]);
  assert.deepEqual(await logs.get("gateway-1")!.uids(), []);
  assert.deepEqual(failures, []);
});

test("who follows behind any gateway hears old and new lines once, in order, also when the log moves", async () => {
  const { cluster, logs, print } = await setUp(2);
  const uid = cluster.uidOwnedBy("gateway-1");
  print("gateway-1", uid, "old");
  const heard: Record<string, string[]> = { "gateway-0": [], "gateway-1": [] };
  const ended: string[] = [];
  for (const [id, lines] of Object.entries(heard)) {
    logs.get(id)!.follow(uid, {}, { onEntry: ({ message }: LogEntry) => lines.push(message), onEnd: () => ended.push(id) });
  }
  const all = (...lines: string[]): Promise<void> => waitUntil(() => Object.values(heard).every((each) => each.join() === lines.join()));
  await all("old");
  print("gateway-1", uid, "new");
  await all("old", "new");
  await cluster.gateway("gateway-1").peers.drain();
  await logs.get("gateway-1")!.handOver();
  print("gateway-0", uid, "moved");
  await all("old", "new", "moved");
  assert.deepEqual(ended, []);
  await logs.get("gateway-0")!.remove(uid);
  await waitUntil(() => ended.length === 2);
});
