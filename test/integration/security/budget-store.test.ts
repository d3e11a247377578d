import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { BudgetDay } from "../../../packages/server/src/security/budget/daily-budget.ts";
import { MemoryBudgetStore } from "../../../packages/server/src/security/budget/memory-budget-store.ts";
import type { BudgetStore } from "../../../packages/server/src/security/budget/port.ts";
import { BUDGETS_MODULE, SqliteBudgetStore } from "../../../packages/server/src/security/sqlite/sqlite-budget-store.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, makeScratch } from "../store/scratch.ts";

const day = (invocations: number): BudgetDay => ({
  startMs: 1_800_000_000_000,
  usageAtStart: { gbSeconds: 0.1 + 0.2, invocations },
  told: "nearly-spent",
});

async function check(store: BudgetStore, restart: () => Promise<BudgetStore>): Promise<void> {
  await store.save(
    new Map([
      ["a", day(1)],
      ["b", day(2)],
    ]),
  );
  await store.save(new Map([["a", day(3)]]));
  const again = await restart();
  assert.deepEqual(
    await again.load(),
    new Map([
      ["a", day(3)],
      ["b", day(2)],
    ]),
  );
  await again.remove("b");
  await again.remove("never was");
  assert.deepEqual([...(await again.load()).keys()], ["a"]);
}

test("memory budget store keeps days by function", async () => {
  const store = new MemoryBudgetStore();
  await check(store, async () => store);
});

test("SQLite budget store keeps days by function over restarts", async () => {
  const scratch = makeScratch();
  const open = () =>
    createSqliteStore({ folder: join(scratch.path, "data"), ballastBytes: 65_536, modules: [BUDGETS_MODULE], onFatal: failOnFatal });
  let sqlite = await open();
  await check(new SqliteBudgetStore(sqlite.client), async () => {
    await sqlite.stop();
    sqlite = await open();
    return new SqliteBudgetStore(sqlite.client);
  });
  await sqlite.stop();
  scratch.remove();
});
