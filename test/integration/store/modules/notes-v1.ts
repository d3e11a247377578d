import type { StoreDatabase } from "../../../../packages/server/src/store/sqlite/database.ts";
import type { StoreModule } from "../../../../packages/server/src/store/sqlite/module.ts";

export const FIRST_MIGRATION = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;";

function add(db: StoreDatabase, text: string): number {
  return db.run("INSERT INTO notes (text) VALUES (?)", text).lastInsertRowid;
}

function addThenFail(db: StoreDatabase, text: string): never {
  add(db, text);
  throw new Error("changed its mind");
}

function list(db: StoreDatabase): string[] {
  return db.all<{ text: string }>("SELECT text FROM notes ORDER BY id").map((row) => row.text);
}

export const storeModule: StoreModule = {
  name: "notes",
  migrations: [FIRST_MIGRATION],
  operations: { add, addThenFail },
  queries: { list },
};
