import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createSqliteStore, type SqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, makeScratch } from "./scratch.ts";
import { buildFunction } from "./store-suite.ts";

// Bounds are far from what a quiet machine shows, so that only a mistake in kind (a sync per row, a scan per write) breaks them.
describe("the store's speed", () => {
  let scratch: ReturnType<typeof makeScratch>;
  let store: SqliteStore;
  const open = () => createSqliteStore({ folder: scratch.path, onFatal: failOnFatal });
  before(async () => {
    scratch = makeScratch();
    store = await open();
  });
  after(async () => {
    await store.stop();
    scratch.remove();
  });

  test("one after the other, and together", async (t) => {
    const single = await perSecond(300, async () => {
      for (let index = 0; index < 300; index++) await store.putFunction(buildFunction(`f-${index}`), "code");
    });
    const together = await perSecond(10_000, async () => {
      await Promise.all(Array.from({ length: 10_000 }, (_, index) => store.putFunction(buildFunction(`f-${index}`), `code ${index}`)));
    });
    t.diagnostic(`${Math.round(single)} writes/s one after the other, ${Math.round(together)} together`);
    assert.ok(together > 2 * single);
  });

  test("of a start with 10,000 functions", async (t) => {
    await store.stop();
    const startMs = performance.now();
    store = await open();
    const openMs = performance.now() - startMs;
    const functions = await store.loadFunctions();
    const loadMs = performance.now() - startMs - openMs;
    t.diagnostic(`${Math.round(openMs)} ms to open, ${Math.round(loadMs)} ms to load`);
    assert.equal(functions.length, 10_000);
    assert.ok(openMs + loadMs < 1000, `${openMs + loadMs} ms`);
  });
});

async function perSecond(count: number, work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return count / ((performance.now() - startMs) / 1000);
}
