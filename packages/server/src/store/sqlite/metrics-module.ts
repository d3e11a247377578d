import type { StoreDatabase } from "./database.ts";
import type { StoreModule } from "./module.ts";

interface MetricsRow {
  uid: string;
  data: Uint8Array;
}

function load(db: StoreDatabase): MetricsRow[] {
  return db.all<MetricsRow>("SELECT uid, data FROM metrics");
}

function save(db: StoreDatabase, rows: readonly MetricsRow[]): void {
  for (const { uid, data } of rows) db.run("INSERT OR REPLACE INTO metrics (uid, data) VALUES (?, ?)", uid, data);
}

function remove(db: StoreDatabase, uids: readonly string[]): void {
  for (const uid of uids) db.run("DELETE FROM metrics WHERE uid = ?", uid);
}

/** Counters, in a file of their own whose commits cost no fsync. */
export const storeModule: StoreModule = {
  name: "metrics",
  database: "metrics",
  migrations: ["CREATE TABLE metrics (uid TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;"],
  operations: { save, remove },
  queries: { load },
  freeing: ["remove"],
};
