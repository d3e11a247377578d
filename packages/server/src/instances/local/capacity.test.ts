import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import fc from "fast-check";
import { CapacityLedger, type Evictable, type Reservation } from "./capacity.ts";

const isNoCapacity = (error: unknown): boolean => error instanceof KsError && error.code === "NO_CAPACITY";

/** A ledger whose idle ones leave when the test says so. */
function buildLedger(maxMemoryMiB: number, idleMiB: readonly number[], maxReplicas = 100) {
  const idle: Reservation[] = [];
  const leaving: Reservation[] = [];
  const evictables = (list: Reservation[]): Evictable[] =>
    [...list].map((reservation) => ({ reservation, evict: () => void leaving.push(...list.splice(list.indexOf(reservation), 1)) }));
  const ledger = new CapacityLedger({ maxReplicas, maxMemoryMiB }, () => evictables(idle));
  for (const memoryMiB of idleMiB) idle.push(ledger.tryReserve(memoryMiB)!);
  const leave = async (): Promise<void> => {
    leaving.shift()?.release();
    await Promise.resolve();
  };
  return { ledger, idle, leaving, leave, evictables };
}

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([promise, Promise.resolve("pending")])) !== "pending";
}

describe("CapacityLedger", () => {
  test("ends as many idle ones as a large replica needs, and gives it the room when they are gone", async () => {
    const { ledger, leaving, leave } = buildLedger(1024, [256, 256, 256, 256]);
    const reserved = Promise.resolve(ledger.reserve(600));
    assert.equal(leaving.length, 3);
    await leave();
    await leave();
    assert.equal(await isSettled(reserved), false);
    await leave();
    assert.equal((await reserved).memoryMiB, 600);
    assert.equal(ledger.memoryMiB, 856);
  });

  test("what already leaves is counted: two that come together end two, not more", async () => {
    const { ledger, leaving, leave } = buildLedger(1024, [256, 256, 256, 256]);
    const both = [ledger.reserve(256), ledger.reserve(128), ledger.reserve(128)];
    assert.equal(leaving.length, 2);
    await leave();
    await leave();
    for (const each of both) assert.ok((await each).memoryMiB > 0);
    assert.equal(ledger.memoryMiB, 1024);
  });

  test("refuses at once when what is idle does not make room enough: none of it goes, and nobody waits behind it", () => {
    const { ledger, idle, leaving, evictables } = buildLedger(1024, [128, 128]);
    const busy = [ledger.tryReserve(256)!];
    ledger.tryReserve(512);
    assert.throws(() => ledger.reserve(600, () => evictables(busy)), isNoCapacity);
    assert.deepEqual([idle.length, busy.length, leaving.length], [2, 1, 0]);
    ledger.tryReserve(1);
    assert.equal(ledger.memoryMiB, 1024);
  });

  test("what was idle longest goes first, but not where a larger one must go anyway", async () => {
    const { ledger, idle, leaving, leave } = buildLedger(1024, [64, 64, 512, 384]);
    const reserved = Promise.resolve(ledger.reserve(512));
    assert.deepEqual(
      leaving.map(({ memoryMiB }) => memoryMiB),
      [512],
    );
    assert.equal(idle.length, 3);
    await leave();
    assert.equal((await reserved).memoryMiB, 512);
  });

  test("an update that needs more than one of its own takes as many of them as it needs", async () => {
    const { ledger, leaving, leave, evictables } = buildLedger(1024, []);
    const own = [256, 256, 256, 256].map((memoryMiB) => ledger.tryReserve(memoryMiB)!);
    const reserved = Promise.resolve(ledger.reserve(512, () => evictables(own)));
    assert.deepEqual([own.length, leaving.length], [2, 2]);
    await leave();
    await leave();
    assert.equal((await reserved).memoryMiB, 512);
  });

  test("a room that came free by itself serves who waits", async () => {
    const { ledger } = buildLedger(1024, [512]);
    const busy = ledger.tryReserve(512)!;
    const reserved = ledger.reserve(512);
    busy.release();
    assert.equal((await reserved).memoryMiB, 512);
  });

  test("memory that the machine never has is no matter of waiting", () => {
    const { ledger, leaving } = buildLedger(1024, [256]);
    assert.throws(
      () => ledger.reserve(2048),
      (error: KsError) => error.code === "FUNCTION_FAILED" && /1024 MiB/.test(error.message),
    );
    assert.equal(leaving.length, 0);
  });

  test("one that gives way to its successor is the last resort, once, and its room goes to that successor alone", async () => {
    const { ledger, leave, evictables } = buildLedger(1024, [256]);
    const busy = [ledger.tryReserve(384)!, ledger.tryReserve(384)!];
    const giveWay = (): Evictable[] => evictables(busy);
    const first = ledger.reserve(256, giveWay);
    assert.equal(busy.length, 2, "something was idle");
    await leave();
    await first;
    const successor = Promise.resolve(ledger.reserve(384, giveWay));
    assert.equal(busy.length, 1);
    assert.throws(() => ledger.reserve(256), isNoCapacity);
    await leave();
    assert.equal((await successor).memoryMiB, 384);
    assert.throws(() => ledger.reserve(1024, giveWay), isNoCapacity);
  });

  test("whoever comes while something is being ended waits for it", async () => {
    const { ledger } = buildLedger(512, []);
    const ending = ledger.tryReserve(512)!;
    assert.throws(() => ledger.reserve(256), isNoCapacity);
    ending.leave();
    const reserved = Promise.resolve(ledger.reserve(256));
    assert.equal(await isSettled(reserved), false);
    ending.release();
    assert.equal((await reserved).memoryMiB, 256);
    ending.leave();
    assert.throws(() => ledger.reserve(512), isNoCapacity, "what is gone leaves no more");
  });

  test("under any order the caps hold, and whoever waits is served once what was ended is gone", async () => {
    const step = fc.record({ kind: fc.constantFrom("reserve", "release", "leave", "idle"), memoryMiB: fc.integer({ min: 64, max: 900 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { ledger, idle, leaving, leave } = buildLedger(1024, [], 6);
        const held: Reservation[] = [];
        let waiting = 0;
        for (const { kind, memoryMiB } of steps) {
          if (kind === "leave") await leave();
          else if (kind === "release") held.pop()?.release();
          else if (kind === "idle" && held.length > 0) idle.push(held.pop()!);
          else if (kind === "reserve") {
            try {
              const reserved = ledger.reserve(memoryMiB);
              waiting++;
              void Promise.resolve(reserved).then((reservation) => {
                waiting--;
                held.push(reservation);
              });
            } catch (error) {
              assert.ok(isNoCapacity(error));
            }
          }
          await Promise.resolve();
          await Promise.resolve();
          assert.ok(ledger.memoryMiB <= 1024 && ledger.replicas <= 6);
        }
        while (leaving.length > 0) await leave();
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(waiting, 0);
        for (const reservation of [...held, ...idle]) reservation.release();
        assert.equal(ledger.memoryMiB, 0);
        assert.equal(ledger.replicas, 0);
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});

test("a refusal names the limit that binds", () => {
  const replicas = buildLedger(1000, [], 1).ledger;
  replicas.tryReserve(100);
  assert.throws(() => replicas.reserve(100), /Raise --max-replicas, or try again/);
  const memory = buildLedger(1000, []).ledger;
  memory.tryReserve(600);
  assert.throws(() => memory.reserve(600), /Raise --max-memory, or try again/);
});
