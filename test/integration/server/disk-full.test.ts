import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, lstatSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { GO_TOOLKITS_FOLDER, startServer, type TestServer, waitFor } from "../../support/server.ts";
import { type Answer, Client } from "./support/client.ts";

const canMount = spawnSync("unshare", ["-m", "true"]).status === 0;
const skip = canMount ? false : "needs to mount a small disk: run as root with util-linux (unshare) installed";
const DISK_MIB = 48;

/** A server whose data folder lies on a small disk that nobody else has, and the folder as we reach it. */
async function openSmallDisk(t: TestContext): Promise<{ server: TestServer; client: Client; folder: string }> {
  const mount = mkdtempSync(join(tmpdir(), "ks-small-disk-"));
  const dataFolder = join(mount, "data");
  mkdirSync(GO_TOOLKITS_FOLDER, { recursive: true });
  const script = `mount -t tmpfs -o size=${DISK_MIB}m tmpfs "$0" && mkdir -p "$0/data/go" && ln -s "$1" "$0/data/go/toolkits" && shift && exec "$@"`;
  const prefix = ["unshare", "-m", "sh", "-c", script, mount, GO_TOOLKITS_FOLDER];
  const server = await startServer({ dataFolder, prefix, flags: ["--pool-size", "0", "--pool", "nodejs18=1"] });
  t.after(async () => {
    if (server.child.exitCode === null) await server.kill();
    rmSync(mount, { recursive: true, force: true });
  });
  return { server, client: new Client(server), folder: `/proc/${server.child.pid}/root${dataFolder}` };
}

/** Leaves not a byte; what takes the space is the returned file. */
function fillDisk(folder: string): string {
  const filler = join(folder, "..", "filler");
  const descriptor = openSync(filler, "a");
  for (let size = 1024 * 1024; size >= 1; ) {
    try {
      writeSync(descriptor, Buffer.alloc(size, 1));
    } catch {
      size = Math.floor(size / 2);
    }
  }
  closeSync(descriptor);
  return filler;
}

function assertRefused({ status, json, text }: Answer): void {
  assert.deepEqual([status, json?.code], [503, "STORE_UNAVAILABLE"], text);
  assert.match(json.error, /disk is full: free space on the disk of .*, or delete functions/);
}

function codeOf(name: string): string {
  return `exports.handler = async () => "${name}"; // ${"x".repeat(300_000)}`;
}

test("a full disk refuses deploys and messages saying so, everything else goes on, and space is all it takes", { skip }, async (t) => {
  const { server, client, folder } = await openSmallDisk(t);
  const code = `exports.handler = async ({ body }) => { console.log("called"); return body; };`;
  await client.deploy({ name: "worker", code, triggers: [{ type: "queue", config: { queue: "jobs", exchange: "work" } }] });
  const kept: string[] = [];
  const deployAnother = async (): Promise<Answer> => {
    const name = `kept-${kept.length}`;
    const answer = await client.create({ name, code: codeOf(name) });
    if (answer.status === 201) kept.push(name);
    return answer;
  };
  for (let count = 0; count < 4; count++) assert.equal((await deployAnother()).status, 201);
  for (const name of kept) await client.settled(name);

  const filler = fillDisk(folder);
  let refused: Answer;
  do refused = await deployAnother();
  while (refused.status === 201);
  assertRefused(refused);
  assertRefused(await client.put({ name: "kept-0", code: "exports.handler = async () => 0;" }));
  assertRefused(await client.publish("jobs", { late: true }));
  assert.ok((await client.degraded()).includes("store"));
  for (let n = 0; n < 20; n++) assert.deepEqual((await client.invoke("worker", { n })).json.body, { n });
  assert.equal((await client.invoke("kept-0")).json.body, "kept-0");
  const removed = kept.splice(1, 2);
  for (const name of removed) {
    assert.equal((await client.delete(name)).status, 204);
    assert.equal((await client.get(`/functions/${name}`)).status, 404);
  }

  rmSync(filler);
  await waitFor("the store to recover", async () => !(await client.degraded()).includes("store"));
  assert.equal((await client.publish("jobs", {})).status, 202);
  await waitFor("the message to be done", async () => {
    const { ready, unacked, dead } = await client.queue("jobs");
    return ready + unacked + dead === 0;
  });
  await client.deploy({ name: "after", code: "exports.handler = async () => 1;" });
  await client.update({ name: "kept-0", code: "exports.handler = async () => 2;" });
  const { json: listed } = await client.get("/functions");
  assert.deepEqual(
    listed.map(({ name }: { name: string }) => name),
    ["after", ...kept, "worker"].sort(),
  );
  for (const name of kept.slice(1)) assert.equal((await client.get(`/functions/${name}`)).json.code, codeOf(name));
  const { json: metrics } = await client.get("/functions/worker/metrics");
  assert.deepEqual([metrics.invocations, metrics.errors], [21, {}]);
  assert.deepEqual(listReadable(folder), []);
  assert.equal((await server.stop()).code, 0);
});

/** What of the data folder others than its owner could read, were they let in; programs must be, as functions run as others. */
function listReadable(folder: string): string[] {
  const found: string[] = [];
  const look = (path: string): void => {
    const { mode } = lstatSync(path);
    const isFolder = (mode & 0o170000) === 0o040000;
    if ((mode & 0o077) !== 0) found.push(`${path} ${(mode & 0o777).toString(8)}`);
    if (isFolder) for (const name of readdirSync(path)) if (name !== "go") look(join(path, name));
  };
  look(folder);
  return found;
}
