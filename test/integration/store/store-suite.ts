import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KsError } from "../../../packages/contracts/src/index.ts";
import type { Store, StoredFunction } from "../../../packages/server/src/store/port.ts";

/** A driver under test: a store, and the same store after its process was started again. */
export interface StoreDriver {
  store: Store;
  restart(): Promise<Store>;
  end(): Promise<void>;
}

export function buildFunction(uid: string, changes: Partial<StoredFunction> & { name?: string } = {}): StoredFunction {
  const { name = uid, ...rest } = changes;
  return {
    uid,
    createdAt: "2026-11-24T10:00:00.000Z",
    generation: 1,
    revision: 1,
    spec: {
      name,
      runtime: "nodejs18",
      handler: "index.handler",
      environment: { GREETING: "grüß \u0000 \ud83d\ude80" },
      minReplicas: 0,
      maxReplicas: 10,
      triggers: [{ type: "http", config: { path: `/${name}` } }] as StoredFunction["spec"]["triggers"],
      timeout: 30,
      memory: 256,
      concurrency: 100,
      network: "outbound",
    },
    status: { state: "deploying", observedGeneration: 0, revision: 0 },
    ...rest,
  };
}

/** What every driver of the store port promises. */
export function describeStore(name: string, open: () => Promise<StoreDriver>): void {
  describe(`${name} store`, () => {
    let driver: StoreDriver;
    let store: Store;
    before(async () => {
      driver = await open();
      store = driver.store;
    });
    after(() => driver.end());

    async function restart(): Promise<void> {
      store = await driver.restart();
    }

    async function find(uid: string): Promise<StoredFunction | undefined> {
      return (await store.loadFunctions()).find((stored) => stored.uid === uid);
    }

    test("is empty and writable at first", async () => {
      assert.equal(store.writable, true);
      assert.deepEqual(await store.loadFunctions(), []);
      assert.deepEqual(await store.openCronRuns(), []);
      assert.equal((await store.loadMetrics()).size, 0);
    });

    test("gives a function and its code back as they were put, also after a restart", async () => {
      const stored = buildFunction("put");
      await store.putFunction(stored, "code \u0000 of put — ü\n");
      assert.deepEqual(await find("put"), stored);
      await restart();
      assert.deepEqual(await find("put"), stored);
      assert.equal(await store.readCode("put", 1), "code \u0000 of put — ü\n");
    });

    test("keeps the code of the wanted and of the serving revision, and no other", async () => {
      const first = buildFunction("revisions");
      await store.putFunction(first, "one");
      const { spec } = first;
      const served = { revision: 1, generation: 1, spec };
      await store.putFunction({ ...first, served }, undefined);
      await store.putFunction({ ...first, generation: 2, revision: 2, served }, "two");
      assert.deepEqual([await store.readCode("revisions", 1), await store.readCode("revisions", 2)], ["one", "two"]);
      await store.putFunction({ ...first, generation: 3, revision: 3, served }, "three");
      assert.equal(await store.readCode("revisions", 1), "one");
      await assert.rejects(store.readCode("revisions", 2), /not kept/);
      await store.putFunction({ ...first, generation: 3, revision: 3, served: { ...served, revision: 3 } });
      await assert.rejects(store.readCode("revisions", 1), /not kept/);
      assert.equal(await store.readCode("revisions", 3), "three");
    });

    test("refuses a new revision without its code and changes nothing", async () => {
      const stored = buildFunction("codeless");
      await store.putFunction(stored, "kept");
      await assert.rejects(store.putFunction({ ...stored, revision: 2, generation: 2 }), /not kept/);
      assert.deepEqual(await find("codeless"), stored);
      assert.equal(await store.readCode("codeless", 1), "kept");
    });

    test("gives a name to one function at a time", async () => {
      await store.putFunction(buildFunction("holder", { name: "shared" }), "a");
      const second = store.putFunction(buildFunction("second", { name: "shared" }), "b");
      await assert.rejects(second, (error) => error instanceof KsError && error.code === "FUNCTION_EXISTS");
      await store.deleteFunction("holder");
      await store.putFunction(buildFunction("second", { name: "shared" }), "b");
      assert.equal(await store.readCode("second", 1), "b");
    });

    test("forgets all about a deleted function; deleting it again does nothing", async () => {
      await store.putFunction(buildFunction("gone"), "code");
      await store.claimCronRun({ triggerId: "gone-cron", uid: "gone", plannedAtMs: 1000 });
      await store.saveMetrics(new Map([["gone", new Uint8Array([1])]]));
      await store.deleteFunction("gone");
      await store.deleteFunction("gone");
      await restart();
      assert.equal(await find("gone"), undefined);
      await assert.rejects(store.readCode("gone", 1), /not kept/);
      assert.deepEqual(await store.listCronRuns("gone", 10), []);
      assert.equal((await store.loadMetrics()).has("gone"), false);
    });

    test("loads functions sorted by name", async () => {
      for (const name of ["sort-b", "sort-a", "sort-c"]) await store.putFunction(buildFunction(`uid-${name}`, { name }), "x");
      const names = (await store.loadFunctions()).map((stored) => stored.spec.name);
      assert.deepEqual(names, names.toSorted());
    });

    test("keeps what it was given, not what the caller made of it later", async () => {
      const stored = buildFunction("aliased");
      const put = store.putFunction(stored, "x");
      await put;
      stored.status.state = "failed";
      assert.equal((await find("aliased"))?.status.state, "deploying");
    });

    test("lets exactly one of many claim a planned time, across restarts", async () => {
      const run = { triggerId: "race", uid: "cron", plannedAtMs: 60_000 };
      const claims = await Promise.all(Array.from({ length: 20 }, () => store.claimCronRun(run)));
      assert.equal(claims.filter(Boolean).length, 1);
      await restart();
      assert.equal(await store.claimCronRun(run), false);
      assert.equal(await store.claimCronRun({ ...run, plannedAtMs: 120_000 }), true);
    });

    test("shows what a dead process left open, with how far it got", async () => {
      const base = { triggerId: "open", uid: "open" };
      for (const plannedAtMs of [1, 2, 3]) await store.claimCronRun({ ...base, plannedAtMs });
      await store.handOverCronRun("open", 2);
      await store.handOverCronRun("open", 3);
      await store.finishCronRun("open", 3, "succeeded");
      await restart();
      const open = (await store.openCronRuns()).filter((run) => run.uid === "open");
      assert.deepEqual(
        open.map((run) => [run.plannedAtMs, run.state]),
        [
          [1, "claimed"],
          [2, "handed-over"],
        ],
      );
      assert.deepEqual(
        (await store.listCronRuns("open", 2)).map((run) => [run.plannedAtMs, run.state]),
        [
          [3, "succeeded"],
          [2, "handed-over"],
        ],
      );
      assert.equal((await store.latestCronRuns()).get("open"), 3);
    });

    test("never gives out a planned time twice, also when its run is long forgotten", async () => {
      const base = { triggerId: "pruned", uid: "pruned" };
      for (let plannedAtMs = 1; plannedAtMs <= 250; plannedAtMs++) {
        assert.equal(await store.claimCronRun({ ...base, plannedAtMs }), true);
        // The first stays open, as a run of hours does.
        if (plannedAtMs > 1) await store.finishCronRun("pruned", plannedAtMs, "succeeded");
      }
      const kept = await store.listCronRuns("pruned", 1000);
      assert.ok(kept.length <= 102, `${kept.length} runs kept`);
      assert.equal(kept.at(-1)?.state, "claimed");
      for (const plannedAtMs of [1, 2, 100, 149, 150, 250]) assert.equal(await store.claimCronRun({ ...base, plannedAtMs }), false);
    });

    test("keeps metrics of functions as bytes, also of a view of a larger buffer", async () => {
      await store.putFunction(buildFunction("counted"), "x");
      const view = new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4);
      await store.saveMetrics(
        new Map([
          ["counted", view],
          ["unknown", view],
        ]),
      );
      await restart();
      const metrics = await store.loadMetrics();
      assert.deepEqual([...(metrics.get("counted") ?? [])], [1, 2, 3]);
      assert.equal(metrics.has("unknown"), false);
    });

    test("refuses everything once stopped", async () => {
      await store.stop();
      await assert.rejects(store.putFunction(buildFunction("late"), "x"), /closed/);
      assert.equal(store.writable, false);
      await store.stop();
    });
  });
}
