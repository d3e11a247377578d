import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ManualClock } from "../clock.ts";
import { Printers } from "./printers.ts";
import { RunningCall } from "./running-call.ts";

function running(requestId: string, changes: Partial<RunningCall> = {}): RunningCall {
  const control = { cancelCall: () => undefined, creditCall: () => undefined };
  return Object.assign(new RunningCall(control, 1, undefined as never, 1000), { requestId, started: true, ...changes });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("Printers", () => {
  const NOW_MS = 1000;

  test("one call alone has printed it; of several nobody knows", () => {
    const printers = new Printers();
    assert.equal(printers.find([running("a")], 1, NOW_MS), "a");
    assert.equal(printers.find([running("a"), running("b")], 1, NOW_MS), undefined);
    assert.equal(printers.find([], 1, NOW_MS), undefined);
  });

  test("a call that has not left, or not begun, prints nothing", () => {
    const printers = new Printers();
    assert.equal(printers.find([running("a"), running("b", { sentAtFlush: 1 }), running("c", { started: false })], 1, NOW_MS), "a");
  });

  test("what is read behind an answer in the same turn is of that call, though the next one is on its way", async () => {
    const [printers, clock] = [new Printers(), new ManualClock()];
    printers.find([running("a")], 1, clock.monotonicMs());
    printers.noteEnd("a", clock);
    const next = running("b", { sentAtFlush: 1 });
    assert.equal(printers.find([next], 1, clock.monotonicMs()), "a");
    await turn();
    assert.equal(printers.find([next], 2, clock.monotonicMs()), "b");
    printers.noteEnd("b", clock);
    assert.equal(printers.find([running("c")], 2, clock.monotonicMs()), undefined, "b or c");
  });

  test("what comes soon after the last call is its own, what comes much later is nobody's", async () => {
    const [printers, clock] = [new Printers(), new ManualClock()];
    printers.noteEnd("a", clock);
    assert.equal(printers.find([], 1, clock.monotonicMs()), "a", "the first that was ever printed");
    await clock.advance(1000);
    printers.noteEnd("b", clock);
    await turn();
    await clock.advance(50);
    assert.equal(printers.find([], 1, clock.monotonicMs()), "b");
    await clock.advance(1000);
    assert.equal(printers.find([], 1, clock.monotonicMs()), undefined);
  });

  test("the first line ever, long after a call, is nobody's", async () => {
    const [printers, clock] = [new Printers(), new ManualClock()];
    printers.noteEnd("a", clock);
    await clock.advance(1000);
    assert.equal(printers.find([], 1, clock.monotonicMs()), undefined);
  });

  test("what comes soon after two calls may be of either", async () => {
    const [printers, clock] = [new Printers(), new ManualClock()];
    printers.find([], 1, clock.monotonicMs());
    printers.noteEnd("a", clock);
    await turn();
    await clock.advance(50);
    printers.noteEnd("b", clock);
    await turn();
    assert.equal(printers.find([], 1, clock.monotonicMs()), undefined);
  });
});
