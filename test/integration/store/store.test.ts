import { join } from "node:path";
import { createMemoryStore, type MemoryStore } from "../../../packages/server/src/store/memory-store.ts";
import { createSqliteStore, type SqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, makeScratch } from "./scratch.ts";
import { describeStore } from "./store-suite.ts";

describeStore("memory", async () => {
  let store: MemoryStore = createMemoryStore();
  return {
    store,
    restart: async () => {
      store = store.restart();
      return store;
    },
    end: () => store.stop(),
  };
});

describeStore("SQLite", async () => {
  const scratch = makeScratch();
  const open = () => createSqliteStore({ folder: join(scratch.path, "data"), ballastBytes: 65_536, onFatal: failOnFatal });
  let store: SqliteStore = await open();
  return {
    store,
    restart: async () => {
      await store.stop();
      store = await open();
      return store;
    },
    end: async () => {
      await store.stop();
      scratch.remove();
    },
  };
});
