import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { makeScratch, readToEnd, startProgram } from "./scratch.ts";

const REFUSAL = /^STORE_UNAVAILABLE: The disk is full: free space on the disk of .*\/data, or delete functions/;
const canMount = spawnSync("unshare", ["-m", "true"]).status === 0;
const skip = canMount ? false : "needs to mount a small disk: run as root with util-linux (unshare) installed";

describe("a full disk", { skip }, () => {
  let scratch: ReturnType<typeof makeScratch>;
  before(() => {
    scratch = makeScratch();
  });
  after(() => scratch.remove());

  /** Runs a scenario on a disk of 32 MiB that only it can see. */
  async function run(scenario: string): Promise<Record<string, unknown>> {
    const mount = 'mount -t tmpfs -o size=32m tmpfs "$0" && exec "$@"';
    const prefix = ["unshare", "-m", "sh", "-c", mount, scratch.path];
    const ended = await readToEnd(startProgram("disk-full-main.ts", [scratch.path, scenario], prefix));
    assert.deepEqual([ended.code, ended.stderr], [0, ""]);
    return JSON.parse(ended.lines[0] as string) as Record<string, unknown>;
  }

  test("refuses writes saying so, goes on reading and deleting, loses nothing, and recovers by itself", async () => {
    const { refusal, refusedAtOnce, ...facts } = await run("othersFill");
    assert.match(String(refusal), REFUSAL);
    assert.match(String(refusedAtOnce), REFUSAL);
    assert.deepEqual(facts, {
      writableWhileFull: false,
      readsGoOn: true,
      deletesWork: true,
      recovers: true,
      keptAll: true,
    });
  });

  test("that the store filled itself has room again once functions are deleted", async () => {
    const { refusal, ...facts } = await run("ownRowsFill");
    assert.match(String(refusal), REFUSAL);
    assert.deepEqual(facts, { deletesWork: true, recovers: true });
  });

  test("lets a server start, serve what it has, and recover", async () => {
    assert.deepEqual(await run("startsFull"), { writableAtStart: false, readsGoOn: true, hasBallast: false, recovers: true });
  });
});
