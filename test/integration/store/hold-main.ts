/* Holds a store open until it is killed: node hold-main.ts FOLDER */
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal } from "./scratch.ts";
import { buildFunction } from "./store-suite.ts";

const store = await createSqliteStore({ folder: process.argv[2] as string, ballastBytes: 65_536, onFatal: failOnFatal });
await store.putFunction(buildFunction("held"), "code");
console.log("open");
