import type { StoreDatabase } from "../../store/sqlite/database.ts";
import type { StoreModule } from "../../store/sqlite/module.ts";

/** `data` is the day as JSON. */
export interface BudgetRow {
  uid: string;
  data: string;
}

function load(db: StoreDatabase): BudgetRow[] {
  return db.all<BudgetRow>("SELECT uid, data FROM budgets");
}

function save(db: StoreDatabase, rows: readonly BudgetRow[]): void {
  for (const { uid, data } of rows) db.run("INSERT OR REPLACE INTO budgets (uid, data) VALUES (?, ?)", uid, data);
}

function remove(db: StoreDatabase, uid: string): void {
  db.run("DELETE FROM budgets WHERE uid = ?", uid);
}

/** Days of budgets, beside the counters that they refer to. */
export const storeModule: StoreModule = {
  name: "budgets",
  database: "metrics",
  migrations: ["CREATE TABLE budgets (uid TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT;"],
  operations: { save, remove },
  queries: { load },
  freeing: ["remove"],
};
