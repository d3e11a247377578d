import assert from "node:assert/strict";
import { test } from "node:test";
import { startServer, type TestServer, waitFor } from "../../support/server.ts";

interface Ready {
  pools: { runtime: string; memoryMiB: number; waiting: number; target: number; pssMiB: number }[];
  capacity: { replicas: number; memoryMiB: number; maxMemoryMiB: number };
}

async function readReady(server: TestServer): Promise<Ready> {
  return (await (await fetch(`${server.url}/ready`)).json()) as Ready;
}

async function deploy(server: TestServer, name: string, code: string): Promise<void> {
  const body = JSON.stringify({ name, runtime: "nodejs18", handler: "index.handler", code });
  const headers = { "Content-Type": "application/json" };
  assert.equal((await fetch(`${server.api}/functions`, { method: "POST", headers, body })).status, 201);
  await waitFor(`${name} to run`, async () => {
    const { status } = (await (await fetch(`${server.api}/functions/${name}`)).json()) as { status: { state: string } };
    return status.state === "running";
  });
}

const findNode = ({ pools }: Ready) => pools.find(({ runtime }) => runtime === "nodejs18");

test("pools are as large as they were asked for, show their memory, and are refilled after a claim", async (t) => {
  const server = await startServer({ flags: ["--pool", "nodejs18=3", "--pool-size", "1"] });
  t.after(() => server.stop());
  const full = await waitFor("three waiting replicas", async () => {
    const ready = await readReady(server);
    return findNode(ready)?.waiting === 3 && ready;
  });
  const { pssMiB, target } = findNode(full)!;
  assert.equal(target, 3);
  assert.ok(pssMiB > 10 && pssMiB < 3 * 64, `${pssMiB} MiB for three`);
  await deploy(server, "pooled", "exports.handler = async () => 1");
  await waitFor("the pool to be full again", async () => findNode(await readReady(server))?.waiting === 3);
  const answer = await fetch(`${server.url}/fn/pooled`);
  assert.equal(answer.headers.get("x-cold-start"), "true");
  assert.match(answer.headers.get("server-timing") ?? "", /start;dur=0\.00, load;dur=/, "claimed, not started");
  await waitFor("the claimed one to be replaced", async () => findNode(await readReady(server))?.waiting === 3);
});

test("--max-memory bounds all replicas together: what is busy keeps its room, what is idle gives way", async (t) => {
  const server = await startServer({ flags: ["--max-memory", "600MiB", "--pool-size", "0"] });
  t.after(() => server.stop());
  const slow = "exports.handler = (event) => new Promise((resolve) => setTimeout(resolve, Number(event.query.ms ?? 0), 1))";
  for (const name of ["first", "second", "third"]) await deploy(server, name, slow);
  const busy = ["first", "second"].map((name) => fetch(`${server.url}/fn/${name}?ms=3000`));
  await waitFor("both to run", async () => (await readReady(server)).capacity.memoryMiB === 512);
  const refused = await fetch(`${server.url}/fn/third`);
  assert.equal(refused.status, 503);
  const { code, error } = (await refused.json()) as { code: string; error: string };
  assert.equal(code, "NO_CAPACITY");
  assert.match(error, /512 of 600 MiB/);
  for (const answer of await Promise.all(busy)) assert.equal(answer.status, 200);
  assert.equal((await fetch(`${server.url}/fn/third`)).status, 200);
  assert.ok((await readReady(server)).capacity.memoryMiB <= 600);
});
