import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../clock.ts";
import { DeliveryRuns, withLimit } from "./delivery-runs.ts";
import type { DeliveryOutcome } from "./port.ts";

function track(): { outcomes: DeliveryOutcome[]; settle: (outcome: DeliveryOutcome) => Promise<void> } {
  const outcomes: DeliveryOutcome[] = [];
  return { outcomes, settle: async (outcome) => void outcomes.push(outcome) };
}

test("a run ends with its handler's outcome and frees its place after it is settled", async () => {
  let ended = 0;
  const runs = new DeliveryRuns(new ManualClock(), () => ended++);
  const { outcomes, settle } = track();
  runs.start(async () => ({ kind: "ack" }), settle);
  assert.equal(runs.size, 1);
  await runs.drain(1_000, 0);
  assert.deepEqual([outcomes, runs.size, ended], [[{ kind: "ack" }], 0, 1]);
});

test("a handler that throws, at once or later, has failed", async () => {
  const runs = new DeliveryRuns(new ManualClock());
  const { outcomes, settle } = track();
  runs.start(() => {
    throw new Error("at once");
  }, settle);
  runs.start(() => Promise.reject(new Error("later")), settle);
  await runs.drain(1_000, 0);
  assert.deepEqual(outcomes, [
    { kind: "fail", reason: "at once" },
    { kind: "fail", reason: "later" },
  ]);
});

test("at the deadline, and not before, what still runs is aborted and released", async () => {
  const clock = new ManualClock();
  const runs = new DeliveryRuns(clock);
  const { outcomes, settle } = track();
  let signal: AbortSignal | undefined;
  runs.start((given) => {
    signal = given;
    return new Promise(() => {});
  }, settle);
  const drained = runs.drain(1_000, 100);
  await clock.advance(999);
  assert.deepEqual([outcomes, signal?.aborted], [[], false]);
  await clock.advance(1);
  await drained;
  assert.deepEqual([outcomes, signal?.aborted], [[{ kind: "release" }], true]);
  assert.equal(clock.pendingTimers, 0);
});

test("a release that cannot be settled holds the stop up for its grace alone", async () => {
  const clock = new ManualClock();
  const runs = new DeliveryRuns(clock);
  runs.start(
    () => new Promise(() => {}),
    () => new Promise(() => {}),
  );
  let done = false;
  const drained = runs.drain(0, 100).then(() => (done = true));
  await clock.advance(99);
  assert.equal(done, false);
  await clock.advance(1);
  await drained;
});

test("a limit gives the result when it is there in time, and else what `late` gives", async () => {
  const clock = new ManualClock();
  assert.equal(await withLimit(clock, 10, Promise.resolve("in time"), () => "late"), "in time");
  await assert.rejects(
    withLimit(clock, 10, Promise.reject(new Error("failed")), () => "late"),
    /failed/,
  );
  const late = withLimit(clock, 10, new Promise(() => {}), () => "late");
  await clock.advance(10);
  assert.equal(await late, "late");
  assert.equal(clock.pendingTimers, 0);
});
