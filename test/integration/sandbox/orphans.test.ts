import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findOwnCgroups } from "../../../packages/server/src/instances/local/sandbox/find-cgroups.ts";
import { parseOwner } from "../../../packages/server/src/instances/local/sandbox/owner.ts";
import { isSameAlive, type ProcessIdentity } from "../../../packages/server/src/instances/local/sandbox/process-tree.ts";
import { findProcesses, openSandbox, sleepMark, spec, waitUntil, whyNot } from "./support.ts";

const victim = fileURLToPath(new URL("victim.ts", import.meta.url));

/** Starts a server with its own sandboxes, waits until they run, and kills it without a chance to clean up. */
async function killServer(runtimeFolder: string, mode: string, marks: readonly string[]): Promise<number> {
  const server = spawn(process.execPath, [victim, runtimeFolder, mode, ...marks], { stdio: ["ignore", "pipe", "inherit"] });
  const ready = new Promise((resolve) => server.stdout.once("data", resolve));
  const failed = new Promise((_, reject) => server.once("exit", (code) => reject(new Error(`the server ended with ${code}`))));
  failed.catch(() => undefined);
  await Promise.race([ready, failed]);
  assert.ok(marks.every((mark) => findProcesses(mark).length > 0));
  const gone = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGKILL");
  await gone;
  return server.pid ?? 0;
}

function listRecords(runtimeFolder: string, serverPid: number): string[] {
  const owners = join(runtimeFolder, "owners");
  return readdirSync(owners)
    .filter((name) => name.startsWith(`${serverPid}-`))
    .map((name) => join(owners, name));
}

/** The helpers that a dead server noted. */
function listNoted(runtimeFolder: string, serverPid: number): ProcessIdentity[] {
  return listRecords(runtimeFolder, serverPid)
    .flatMap((folder) => readdirSync(folder))
    .filter((name) => name.startsWith("group-"))
    .map((name) => parseOwner(name.slice("group-".length)))
    .filter((identity) => identity !== undefined);
}

function listCgroups(serverPid: number): string[] {
  const own = findOwnCgroups(readFileSync("/proc/self/cgroup", "utf8"), readFileSync("/proc/self/mountinfo", "utf8"));
  const folders = [own.memory, own.pids, own.unified?.path].filter((folder) => folder !== undefined);
  return folders.flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith(`kube-serverless-${serverPid}-`)));
}

describe("what a killed server leaves", () => {
  const root = mkdtempSync(join(tmpdir(), "ks-orphans-"));
  chmodSync(root, 0o755);
  after(() => rmSync(root, { recursive: true, force: true }));
  const skipBubblewrap = whyNot("bwrap", "pasta", "ip");

  for (const mode of ["plain", "require"] as const) {
    test(`${mode}: processes, control groups and records are gone once the next one has started`, {
      skip: mode === "require" && skipBubblewrap,
    }, async () => {
      const runtimeFolder = join(root, mode);
      const marks = [sleepMark(), sleepMark()];
      const pid = await killServer(runtimeFolder, mode, marks);
      const next = await openSandbox({ runtimeFolder, mode });
      await waitUntil(() => marks.flatMap(findProcesses).length === 0, "its functions are gone");
      assert.deepEqual(listCgroups(pid), []);
      assert.deepEqual(listRecords(runtimeFolder, pid), []);
      await next.close();
    });
  }

  test("with bubblewrap functions and network helpers end with the server, whoever comes next", { skip: skipBubblewrap }, async () => {
    const runtimeFolder = join(root, "at-once");
    const mark = sleepMark();
    const pid = await killServer(runtimeFolder, "require", [mark]);
    const noted = listNoted(runtimeFolder, pid);
    assert.equal(noted.length, 2, "the namespace's holder and the helper's guard");
    await waitUntil(() => findProcesses(mark).length === 0 && !noted.some(isSameAlive), "all have ended");
    await (await openSandbox({ runtimeFolder })).close();
  });

  test("a server that lives keeps what it has", { skip: skipBubblewrap }, async () => {
    const runtimeFolder = join(root, "shared");
    const first = await openSandbox({ runtimeFolder, mode: "require" });
    const mark = sleepMark();
    const process = await first.sandbox.spawn(spec(["/usr/bin/sleep", mark], { network: "outbound" }));
    await waitUntil(() => findProcesses(mark).length > 0, "it sleeps");
    await (await openSandbox({ runtimeFolder, mode: "require" })).close();
    assert.ok(findProcesses(mark).length > 0);
    process.kill();
    assert.equal((await process.exited).signal, "SIGKILL");
    await first.close();
  });
});
