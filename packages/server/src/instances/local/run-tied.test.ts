import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isAlive } from "./sandbox/process-tree.ts";
import { runTied } from "./run-tied.ts";

const options = { cwd: "/", env: { PATH: "/usr/bin:/bin" }, timeoutMs: 60_000, signal: new AbortController().signal };

async function waitUntil(condition: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 10_000; !condition(); ) {
    assert.ok(performance.now() < endMs, "10 s have passed");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("gives what was printed, or fails with what was said", async () => {
  assert.equal(await runTied(["sh", "-c", 'echo "$1"', "sh", "a  b"], options), "a  b\n");
  await assert.rejects(runTied(["sh", "-c", "echo no >&2; exit 3"], options), /ended with 3: no\n$/);
  await assert.rejects(runTied(["/nonexistent"], options), /nonexistent/);
});

test("an abort and the time limit end it with all that it started", async () => {
  const started = performance.now();
  const program = ["sh", "-c", "sleep 60 & sleep 60"];
  await assert.rejects(runTied(program, { ...options, timeoutMs: 200 }), /ended with a signal/);
  await assert.rejects(runTied(program, { ...options, signal: AbortSignal.timeout(200) }), { name: "TimeoutError" });
  assert.ok(performance.now() - started < 10_000);
  const aborted = AbortSignal.abort();
  await assert.rejects(runTied(["true"], { ...options, signal: aborted }), { name: "AbortError" });
});

test("it ends with the process that started it, however that ends", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ks-tied-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const program = `echo $$ > own; sleep 60 & echo $! > child; mv child below; wait`;
  const main = `const { runTied } = await import(${JSON.stringify(new URL("run-tied.ts", import.meta.url))});
    const { signal } = new AbortController();
    await runTied(["sh", "-c", ${JSON.stringify(program)}], { cwd: ${JSON.stringify(folder)}, env: { PATH: "/usr/bin:/bin" }, timeoutMs: 60000, signal });`;
  const parent = spawn(process.execPath, ["--input-type=module", "-e", main], { stdio: "inherit" });
  await waitUntil(() => existsSync(join(folder, "below")));
  const pids = ["own", "below"].map((name) => Number(readFileSync(join(folder, name), "utf8")));
  assert.ok(pids.every(isAlive));
  parent.kill("SIGKILL");
  await waitUntil(() => !pids.some(isAlive));
});
