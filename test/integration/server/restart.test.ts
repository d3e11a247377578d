import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { openEmbeddedQueues, EMBEDDED_QUEUE_MODULE } from "../../../packages/server/src/queue/sqlite/driver.ts";
import type { StoredFunction } from "../../../packages/server/src/store/port.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { createDataFolder, startServer, type TestServer, waitFor } from "../../support/server.ts";
import { Client } from "./support/client.ts";

const FLAGS = ["--pool-size", "0", "--pool", "nodejs18=1"];

/** A data folder, and servers on it one after the other. */
function openFolder(t: TestContext) {
  const dataFolder = createDataFolder();
  const servers: TestServer[] = [];
  t.after(async () => {
    for (const { child } of servers) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await Promise.all(servers.map(({ exited }) => exited));
    rmSync(dataFolder, { recursive: true, force: true });
  });
  const start = async (environment: Record<string, string> = {}) => {
    const server = await startServer({ dataFolder, flags: FLAGS, environment });
    servers.push(server);
    return { server, client: new Client(server) };
  };
  return { dataFolder, start };
}

/** The last figures may be a second old after a SIGKILL, and none after a clean end. */
async function waitForInvocations(client: Client, name: string, expected: number): Promise<any> {
  const { json } = await client.get(`/functions/${name}/metrics`);
  assert.equal(json.invocations, expected);
  return json;
}

describe("a restart", () => {
  test("SIGKILL: a run by the clock that it cut off is shown as interrupted", async (t) => {
    const { start } = openFolder(t);
    const { server, client } = await start();
    await client.deploy({
      name: "clock",
      code: "exports.handler = () => new Promise(() => undefined);",
      triggers: [{ type: "cron", config: { schedule: "* * * * * *", overlap: "skip" } }],
    });
    const runsOf = async (which: Client): Promise<{ plannedAt: string; state: string }[]> =>
      (await which.get("/functions/clock/cron")).json.runs;
    const cutOff = await waitFor("a run", async () => (await runsOf(client)).find(({ state }) => state === "running"));
    await server.kill();
    const next = await start();
    await waitFor("the run to be interrupted", async () =>
      (await runsOf(next.client)).some(({ plannedAt, state }) => plannedAt === cutOff.plannedAt && state === "interrupted"),
    );
    // Its new runs never end either.
    await next.server.kill();
  });

  for (const how of ["clean", "SIGKILL"] as const) {
    test(`${how}: functions, metrics, logs and the last invocation are as before`, async (t) => {
      const { start } = openFolder(t);
      const { server, client } = await start();
      const code = `exports.handler = async ({ body }) => { console.log("said", body.n); if (body.n === 3) throw new TypeError("three"); return body.n; };`;
      const triggers = [{ type: "http", config: { path: "/three" } }];
      await client.deploy({ name: "talker", code, triggers, environment: { KEY: "value" }, memory: 128, timeout: 7 });
      await client.create({ name: "broken", code: "exports.handler = (;" });
      assert.equal((await client.settled("broken")).state, "failed");
      for (const n of [1, 2, 3]) await client.invoke("talker", { n });
      const before = await client.get("/functions/talker");
      await waitFor("the log to have three lines", async () => (await client.get("/functions/talker/logs")).json.length === 3);
      const logBefore = (await client.get("/functions/talker/logs")).json;
      const figures = await waitForInvocations(client, "talker", 3);
      if (how === "clean") assert.equal((await server.stop()).code, 0);
      else {
        // What is older than a second has been written.
        await pause(1_500);
        await server.kill();
      }

      const next = await start();
      const after = await next.client.get("/functions/talker");
      const steady = ({ json }: typeof before) => ({ ...json, status: { ...json.status, replicas: 0, readyReplicas: 0 } });
      assert.deepEqual(steady(after), steady(before));
      assert.equal(after.headers.get("etag"), before.headers.get("etag"));
      assert.equal(after.json.status.lastInvocation, before.json.status.lastInvocation);
      const { inFlight: _now, replicas: _running, ...kept } = await waitForInvocations(next.client, "talker", 3);
      const { inFlight: _then, replicas: _ran, ...counted } = figures;
      assert.deepEqual(kept, counted);
      assert.deepEqual(kept.errors, { FUNCTION_ERROR: 1 });
      assert.deepEqual((await next.client.get("/functions/talker/logs")).json, logBefore);
      const failed = await next.client.get("/functions/broken");
      assert.equal(failed.json.status.state, "failed");
      assert.match(failed.json.status.message, /SyntaxError/);
      assert.equal((await next.client.invoke("broken")).status, 502);
      assert.equal((await fetch(`${next.server.url}/three`, { method: "POST", body: `{"n": 4}` })).status, 200);
      assert.equal((await waitForInvocations(next.client, "talker", 4)).invocations, 4);
      assert.equal((await next.server.stop()).code, 0);
    });
  }

  test("a build that was not finished runs anew, and the old version serves meanwhile", async (t) => {
    const { start } = openFolder(t);
    const first = await start();
    await first.client.deploy({ name: "changing", code: "exports.handler = async () => 1;" });
    await first.client.put({
      name: "changing",
      code: "exports.handler = async () => 2; for (const end = Date.now() + 2_000; Date.now() < end; );",
    });
    await first.client.create({
      name: "fresh",
      code: "exports.handler = async () => 1;",
    });
    await first.server.kill();
    const { client, server } = await start();
    const { json } = await client.get("/functions/changing");
    assert.equal(json.status.state, "deploying");
    assert.equal((await client.invoke("changing")).json.body, 1);
    await Promise.all([client.running("changing"), client.running("fresh")]);
    assert.equal((await client.invoke("changing")).json.body, 2);
    assert.equal((await client.invoke("fresh")).json.body, 1);
    assert.equal((await server.stop()).code, 0);
  });

  test("a second server on the same data folder is refused in one clear line, and harms nothing", async (t) => {
    const { dataFolder, start } = openFolder(t);
    const { client, server } = await start();
    await client.deploy({ name: "calm", code: "exports.handler = async () => 1;" });
    await assert.rejects(startServer({ dataFolder, flags: FLAGS }), (error: Error) => {
      const [summary, ...lines] = error.message.trim().split("\n");
      assert.equal(summary, "the server ended with 1 before it listened:");
      const { pid } = server.child;
      const expected = `The data folder ${dataFolder} is in use by another server (process ${pid}): stop it, or choose another data folder`;
      assert.deepEqual(lines, [expected]);
      return true;
    });
    assert.equal((await client.invoke("calm")).json.body, 1);
    assert.equal((await server.stop()).code, 0);
  });

  test("takes a second with 10,000 functions and 100,000 messages", async (t) => {
    const { dataFolder, start } = openFolder(t);
    await fill(dataFolder, 10_000, 100_000);
    // Of the server itself: the machine may be busy with other things.
    const cpuMs: number[] = [];
    const takenMs: number[] = [];
    for (let round = 0; round < 3; round++) {
      const sinceMs = performance.now();
      const { server, client } = await start();
      takenMs.push(Math.round(performance.now() - sinceMs));
      cpuMs.push(readCpuMs(server.child.pid!));
      if (round === 0) {
        assert.equal((await client.get("/functions")).json.length, 10_000);
        assert.deepEqual(await client.queue("heap"), { queue: "heap", ready: 100_000, unacked: 0, dead: 0 });
        assert.equal((await client.invoke("f-9999")).status, 200);
      }
      // The next one finds what a killed one leaves.
      await server.kill();
    }
    const figures = `${takenMs.join(", ")} ms until it listened, ${cpuMs.join(", ")} ms of a core`;
    t.diagnostic(figures);
    assert.ok(Math.min(...takenMs) < 3_000 || Math.min(...cpuMs) < 2_000, figures);
  });
});

/** What a process has used, in user mode and in the kernel, by the fields of proc_pid_stat(5). */
function readCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Writes what so many deploys and publishes would have written. */
async function fill(folder: string, functions: number, messages: number): Promise<void> {
  const onFatal = (error: Error): never => {
    throw error;
  };
  const store = await createSqliteStore({ folder, modules: [EMBEDDED_QUEUE_MODULE], onFatal });
  const queues = await openEmbeddedQueues({ client: store.client });
  await queues.declare({ queue: "heap" });
  await inBatches(functions, (index) => store.putFunction(buildStored(index), `exports.handler = async () => ${index};`));
  const body = Buffer.from(`{"text": "${"x".repeat(100)}"}`);
  const publish = (index: number) =>
    queues.publish("heap", { messageId: `m-${index}`, body, contentType: "application/json", headers: {} });
  await inBatches(messages, publish);
  await queues.stop({ deadlineMs: 0 });
  await store.stop();
}

/** Those of a batch share commits. */
async function inBatches(count: number, write: (index: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    await Promise.all(Array.from({ length: Math.min(500, count - from) }, (_, index) => write(from + index)));
  }
}

function buildStored(index: number): StoredFunction {
  const at = "2026-01-01T00:00:00.000Z";
  const spec: StoredFunction["spec"] = {
    name: `f-${index}`,
    runtime: "nodejs18",
    handler: "index.handler",
    environment: {},
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [{ type: "http", config: { path: `/functions-of-old/${index}/:id` } }],
    timeout: 30,
    memory: 256,
    network: "outbound",
    concurrency: 100,
  };
  return {
    uid: `uid-${index}`,
    createdAt: at,
    generation: 1,
    revision: 1,
    spec,
    status: { state: "running", observedGeneration: 1, revision: 1, runtimeVersion: "18.20.8", lastDeployment: at },
    served: { revision: 1, generation: 1, spec },
  };
}
