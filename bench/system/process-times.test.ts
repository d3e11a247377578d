import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { findDescendants, parseProcessStat, readProcesses, treeSeconds } from "./process-times.ts";

const times = (pid: number, parent: number, self = 0, endedChildren = 0) => ({ pid, parent, self, endedChildren });

test("a program's name may hold brackets and blanks", () => {
  const line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 20 5 20 0 11 0 12345 1000 200";
  assert.deepEqual(parseProcessStat(line), times(42, 7, 2, 0.25));
});

test("descendants are found over generations, and strangers are not", () => {
  const all = [times(1, 0), times(10, 1), times(11, 10), times(12, 11), times(20, 1)];
  assert.deepEqual(
    findDescendants(10, all).map(({ pid }) => pid),
    [11, 12],
  );
});

test("a tree's time counts the living and those that ended within it", () => {
  const all = [times(10, 1, 1, 2), times(11, 10, 3, 4), times(20, 1, 100, 100)];
  assert.deepEqual(treeSeconds(10, all), { root: 1, below: 9 });
  assert.throws(() => treeSeconds(99, all), /99 has ended/);
});

test("the time of a child that burned and ended is found in its parent", async () => {
  const before = treeSeconds(process.pid, readProcesses());
  const child = spawn(process.execPath, ["-e", "while (process.cpuUsage().user < 200_000);"], { stdio: "ignore" });
  await once(child, "exit");
  const after = treeSeconds(process.pid, readProcesses());
  assert.ok(after.below - before.below >= 0.15, `${after.below - before.below} s`);
});
