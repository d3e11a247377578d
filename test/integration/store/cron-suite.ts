import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { CronStore } from "../../../packages/server/src/store/port.ts";

/** A store of cron runs, and the same after its process was started again. */
export interface CronStoreDriver {
  store: CronStore;
  restart(): Promise<CronStore>;
}

/** What every driver of the port for cron runs promises. */
export function describeCronStore(open: () => Promise<CronStoreDriver>): void {
  describe("cron runs", () => {
    let driver: CronStoreDriver;
    let store: CronStore;
    before(async () => {
      driver = await open();
      store = driver.store;
    });

    test("lets exactly one of many claim a planned time, across restarts", async () => {
      const run = { triggerId: "race", uid: "cron", plannedAtMs: 60_000 };
      const claims = await Promise.all(Array.from({ length: 20 }, () => store.claimCronRun(run)));
      assert.equal(claims.filter(Boolean).length, 1);
      store = await driver.restart();
      assert.equal(await store.claimCronRun(run), false);
      assert.equal(await store.claimCronRun({ ...run, plannedAtMs: 120_000 }), true);
    });

    test("shows what a dead process left open, with how far it got", async () => {
      const base = { triggerId: "open", uid: "open" };
      for (const plannedAtMs of [1, 2, 3]) await store.claimCronRun({ ...base, plannedAtMs });
      await store.handOverCronRun("open", 2, "request-2");
      await store.handOverCronRun("open", 3, "request-3");
      await store.finishCronRun("open", 3, "succeeded");
      store = await driver.restart();
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

    test("keeps which call a run was, and why it failed", async () => {
      const base = { triggerId: "told", uid: "told" };
      const failure = { code: "FUNCTION_ERROR", error: "Internal server error: no  luck, ничего\nat all" } as const;
      for (const plannedAtMs of [1, 2, 3, 4]) await store.claimCronRun({ ...base, plannedAtMs });
      for (const plannedAtMs of [2, 3, 4]) await store.handOverCronRun("told", plannedAtMs, `request-${plannedAtMs}`);
      await store.finishCronRun("told", 2, "succeeded");
      await store.finishCronRun("told", 3, "failed", failure);
      store = await driver.restart();
      assert.deepEqual(await store.listCronRuns("told", 10), [
        { ...base, plannedAtMs: 4, state: "handed-over", requestId: "request-4" },
        { ...base, plannedAtMs: 3, state: "failed", requestId: "request-3", failure },
        { ...base, plannedAtMs: 2, state: "succeeded", requestId: "request-2" },
        { ...base, plannedAtMs: 1, state: "claimed" },
      ]);
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
  });
}
