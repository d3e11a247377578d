import assert from "node:assert/strict";
import { test } from "node:test";
import { NoisyMachineError, parseBusySeconds, QuietKeeper, watchForeignLoad } from "./foreign-load.ts";

test("busy time is that of processes and what was stolen, without waiting and interrupts", () => {
  assert.equal(parseBusySeconds("cpu  100 20 30 9000 500 7 8 50 0 0\ncpu0 1 1 1 1"), 2);
});

test("what this process burns is not foreign", () => {
  const end = watchForeignLoad();
  const before = process.cpuUsage();
  const stopMs = performance.now() + 500;
  while (performance.now() < stopMs);
  const used = process.cpuUsage(before);
  const ownPart = (used.user + used.system) / 1e6 / 0.5;
  // Others may burn the remaining cores meanwhile, never ours as well.
  assert.ok(end() <= navigator.hardwareConcurrency - ownPart + 0.2);
});

test("a machine that stays busy ends the wait with what to do about it", async () => {
  const seen: number[] = [];
  const options = { limit: -1, waitMs: 0, onWaiting: (load: number) => void seen.push(load) };
  await assert.rejects(new QuietKeeper({ ...options, allowNoise: false }).waitForQuiet(), (error: Error) => {
    assert.ok(error instanceof NoisyMachineError);
    assert.match(error.message, /--quiet-wait.*--allow-noise/);
    return true;
  });
  await new QuietKeeper({ ...options, allowNoise: true }).waitForQuiet();
  assert.equal(new QuietKeeper({ ...options, limit: 0.15, allowNoise: false }).accepts(0.2), false);
  assert.equal(new QuietKeeper({ ...options, limit: 0.15, allowNoise: true }).accepts(0.2), true);
});
