import type { StoreDatabase } from "../../store/sqlite/database.ts";
import type { StoreModule } from "../../store/sqlite/module.ts";

/** A key's row; `data` is JSON of what is neither looked for nor changed by itself. */
export interface KeyRow {
  id: string;
  createdAtMs: number;
  lastUsedAtMs: number | null;
  data: string;
}

export type LastUse = [id: string, atMs: number];

function load(db: StoreDatabase): KeyRow[] {
  return db.all<KeyRow>(
    "SELECT id, created_at_ms AS createdAtMs, last_used_at_ms AS lastUsedAtMs, data FROM api_keys ORDER BY created_at_ms, id",
  );
}

function put(db: StoreDatabase, { id, createdAtMs, lastUsedAtMs, data }: KeyRow): void {
  db.run(
    "INSERT OR REPLACE INTO api_keys (id, created_at_ms, last_used_at_ms, data) VALUES (?, ?, ?, ?)",
    id,
    createdAtMs,
    lastUsedAtMs,
    data,
  );
}

function remove(db: StoreDatabase, id: string): void {
  db.run("DELETE FROM api_keys WHERE id = ?", id);
}

function saveLastUse(db: StoreDatabase, uses: readonly LastUse[]): void {
  for (const [id, atMs] of uses) {
    db.run("UPDATE api_keys SET last_used_at_ms = max(?, ifnull(last_used_at_ms, 0)) WHERE id = ?", atMs, id);
  }
}

/** API keys. A full disk must not stop one from being revoked. */
export const storeModule: StoreModule = {
  name: "keys",
  migrations: [
    `CREATE TABLE api_keys (
       id TEXT PRIMARY KEY,
       created_at_ms INTEGER NOT NULL,
       last_used_at_ms INTEGER,
       data TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;`,
  ],
  operations: { put, remove, saveLastUse },
  queries: { load },
  freeing: ["remove"],
};
