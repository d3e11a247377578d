import assert from "node:assert/strict";
import { duplexPair, Readable } from "node:stream";
import { describe, test } from "node:test";
import { ManualClock } from "../../clock.ts";
import { CapacityLedger } from "./capacity.ts";
import { classKey, ReplicaPool, type ReplicaClass } from "./pool.ts";
import type { SandboxExit } from "./sandbox/port.ts";
import type { WaitingReplica } from "./waiting-replica.ts";

const NODE: ReplicaClass = { runtime: "nodejs18", memoryMiB: 256, network: "outbound" };
const PYTHON: ReplicaClass = { runtime: "python39", memoryMiB: 256, network: "outbound" };

async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A replica that waits, and is gone as soon as it is killed. */
function buildWaiting(id: number): WaitingReplica & { die(): void } {
  const exit = Promise.withResolvers<SandboxExit>();
  const waiting = {
    process: {
      id: `r${id}`,
      pid: id,
      frames: duplexPair()[0],
      stdout: new Readable({ read: () => undefined }),
      stderr: new Readable({ read: () => undefined }),
      exited: exit.promise,
      memoryMiB: () => Promise.resolve(10),
      kill: () => exit.resolve({ code: null, signal: "SIGKILL" }),
    },
    startMs: 30,
    functionFolder: undefined,
    dead: false,
    die: () => exit.resolve({ code: 1, signal: null }),
  };
  void exit.promise.then(() => (waiting.dead = true));
  return waiting;
}

function setUp(sizes: Record<string, number>, maxReplicas = 100) {
  const clock = new ManualClock();
  const made: ReturnType<typeof buildWaiting>[] = [];
  const failing = { value: false };
  const errors: unknown[] = [];
  let starts = 0;
  const pool: ReplicaPool = new ReplicaPool({
    clock,
    ledger: new CapacityLedger({ maxReplicas, maxMemoryMiB: 100_000 }, () => pool.evictable()),
    sizes: new Map(Object.entries(sizes)),
    maxSize: 8,
    start: async () => {
      starts++;
      if (failing.value) throw new Error("no start");
      const waiting = buildWaiting(starts);
      made.push(waiting);
      return waiting;
    },
    onError: (error) => errors.push(error),
  });
  const waitingOf = (replicaClass: ReplicaClass): number =>
    pool.state().find(({ runtime }) => runtime === replicaClass.runtime)?.waiting.length ?? 0;
  return { clock, pool, made, failing, errors, waitingOf, starts: () => starts };
}

describe("ReplicaPool", () => {
  test("keeps as many waiting as were asked for, by class", async () => {
    const { pool, waitingOf } = setUp({ [classKey(NODE)]: 3, [classKey(PYTHON)]: 1 });
    pool.keep(NODE);
    pool.keep(PYTHON);
    await settle();
    assert.equal(waitingOf(NODE), 3);
    assert.equal(waitingOf(PYTHON), 1);
  });

  test("a claim takes one at once, and another is started when first calls have had their time", async () => {
    const { clock, pool, waitingOf, starts } = setUp({ [classKey(NODE)]: 2 });
    pool.keep(NODE);
    await settle();
    assert.ok(pool.take(NODE));
    assert.equal(waitingOf(NODE), 1);
    await clock.advance(9);
    pool.putOffRefill();
    await clock.advance(9);
    assert.equal(starts(), 2);
    await clock.advance(1);
    await settle();
    assert.equal(waitingOf(NODE), 2);
  });

  test("claims without a pause do not keep a pool from being filled up", async () => {
    const { clock, pool, waitingOf } = setUp({ [classKey(NODE)]: 2 });
    pool.keep(NODE);
    await settle();
    assert.ok(pool.take(NODE));
    for (let ms = 0; ms < 100; ms += 5) {
      assert.equal(waitingOf(NODE), 1);
      pool.putOffRefill();
      await clock.advance(5);
    }
    await settle();
    assert.equal(waitingOf(NODE), 2);
  });

  test("the target follows the rate of claims, and goes back when they cease", async () => {
    const { clock, pool, waitingOf } = setUp({ [classKey(NODE)]: 2 });
    pool.keep(NODE);
    await settle();
    for (let i = 0; i < 6; i++) {
      pool.take(NODE);
      await clock.advance(10);
      await settle();
    }
    assert.equal(waitingOf(NODE), 6);
    for (let second = 0; second < 40; second++) await clock.advance(1000);
    assert.equal(waitingOf(NODE), 2);
  });

  test("a burst never raises it beyond its bound", async () => {
    const { clock, pool, waitingOf } = setUp({ [classKey(NODE)]: 1 });
    for (let i = 0; i < 50; i++) pool.take(NODE);
    await clock.advance(10);
    await settle();
    assert.equal(waitingOf(NODE), 8);
  });

  test("one that dies while it waits is replaced and never handed out", async () => {
    const { pool, made, waitingOf } = setUp({ [classKey(NODE)]: 1 });
    pool.keep(NODE);
    await settle();
    made[0]!.die();
    await settle();
    assert.equal(waitingOf(NODE), 1);
    assert.equal(pool.take(NODE)?.waiting, made[1]);
  });

  test("starts that fail are tried again ever more seldom, and found again when they work", async () => {
    const { clock, pool, failing, errors, waitingOf, starts } = setUp({ [classKey(NODE)]: 1 });
    failing.value = true;
    pool.keep(NODE);
    for (let second = 0; second < 60; second++) await clock.advance(1000);
    assert.ok(starts() >= 4 && starts() <= 9, `${starts()} starts in a minute`);
    assert.equal(errors.length, starts());
    failing.value = false;
    for (let second = 0; second < 31; second++) await clock.advance(1000);
    assert.equal(waitingOf(NODE), 1);
  });

  test("leaves the machine's last room to calls, and ends what waits when it stops", async () => {
    const { pool, made, waitingOf } = setUp({ [classKey(NODE)]: 5 }, 3);
    pool.keep(NODE);
    await settle();
    assert.equal(waitingOf(NODE), 3);
    pool.stop();
    await settle();
    assert.ok(made.every(({ dead }) => dead));
  });
});
