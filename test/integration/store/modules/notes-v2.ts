import type { StoreDatabase } from "../../../../packages/server/src/store/sqlite/database.ts";
import type { StoreModule } from "../../../../packages/server/src/store/sqlite/module.ts";
import { FIRST_MIGRATION } from "./notes-v1.ts";

function shout(db: StoreDatabase): void {
  db.run("UPDATE notes SET text = upper(text)");
}

function list(db: StoreDatabase): string[] {
  return db.all<{ text: string }>("SELECT text || ' ' || pinned AS text FROM notes ORDER BY id").map((row) => row.text);
}

export const storeModule: StoreModule = {
  name: "notes",
  migrations: [FIRST_MIGRATION, "ALTER TABLE notes ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;", shout],
  operations: {},
  queries: { list },
};
