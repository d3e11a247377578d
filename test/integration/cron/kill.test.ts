import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { CronRun } from "../../../packages/server/src/store/port.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";

const MAIN = join(import.meta.dirname, "scheduler-main.ts");

interface Site {
  data: string;
  callsFile: string;
}

function makeSite(t: TestContext): Site {
  const folder = mkdtempSync(join(tmpdir(), "ks-cron-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return { data: join(folder, "data"), callsFile: join(folder, "calls") };
}

function readCalls({ callsFile }: Site): string[] {
  try {
    return readFileSync(callsFile, "utf8").trimEnd().split("\n");
  } catch {
    return [];
  }
}

/** Runs the scheduler until its failpoint kills it, or else until it has made so many further calls. */
async function runScheduler(site: Site, missed: string, ending: { failpoint: string } | { calls: number }): Promise<void> {
  const before = readCalls(site).length;
  const more = "failpoint" in ending ? [ending.failpoint] : [];
  const child = spawn(process.execPath, [MAIN, site.data, site.callsFile, missed, ...more], { stdio: ["ignore", "ignore", "inherit"] });
  const exited = once(child, "exit");
  const giveUp = setTimeout(() => child.kill("SIGTERM"), 20_000);
  const wanted = "calls" in ending ? before + ending.calls : 0;
  while (child.exitCode === null && readCalls(site).length < wanted) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  if ("calls" in ending) child.kill("SIGKILL");
  const [, signal] = (await exited) as [number | null, string | null];
  clearTimeout(giveUp);
  assert.equal(signal, "SIGKILL");
}

async function readRuns(site: Site): Promise<Map<string, CronRun["state"]>> {
  const store = await createSqliteStore({ folder: site.data, onFatal: (error) => assert.fail(error) });
  const runs = await store.listCronRuns("u1", 100);
  await store.stop();
  return new Map(runs.map(({ plannedAtMs, state }) => [new Date(plannedAtMs).toISOString(), state]));
}

const cases = [
  { failpoint: "cron.after-claim", missed: "skip", callsBefore: 2, callsAfter: 1, state: "succeeded" },
  { failpoint: "cron.after-hand-over", missed: "skip", callsBefore: 2, callsAfter: 0, state: "interrupted" },
  { failpoint: "cron.after-hand-over", missed: "once", callsBefore: 2, callsAfter: 1, state: "succeeded" },
  { failpoint: "cron.before-finish", missed: "skip", callsBefore: 3, callsAfter: 0, state: "interrupted" },
] as const;

for (const { failpoint, missed, callsBefore, callsAfter, state } of cases) {
  test(`killed at ${failpoint} with missed ${missed}, a run is ${state} after the next start`, async (t) => {
    const site = makeSite(t);
    await runScheduler(site, missed, { failpoint: `${failpoint}:3` });
    const before = readCalls(site);
    assert.equal(before.length, callsBefore);
    await runScheduler(site, missed, { calls: 2 });
    const calls = readCalls(site);
    const runs = await readRuns(site);
    const killedAt = [...runs.keys()].sort()[2]!;
    assert.equal(runs.get(killedAt), state);
    assert.equal(calls.filter((plannedAt) => plannedAt === killedAt).length, callsAfter + (callsBefore === 3 ? 1 : 0));
    for (const plannedAt of calls) assert.ok(runs.has(plannedAt), "no call without a claim");
    assert.equal(new Set(calls).size, calls.length, "no planned time called twice");
  });
}
