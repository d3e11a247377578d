import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KsError } from "../../../packages/contracts/src/index.ts";
import { describeCronStore } from "./cron-suite.ts";
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

    describeCronStore(async () => ({
      store,
      restart: async () => {
        await restart();
        return store;
      },
    }));

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
