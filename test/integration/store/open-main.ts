/* Opens a client, says so and stops it: node open-main.ts FOLDER MODULE FAILPOINT */
import { createSqliteClient } from "../../../packages/server/src/store/sqlite/client.ts";
import { failOnFatal } from "./scratch.ts";

const [folder, module, failpoint] = process.argv.slice(2) as [string, string, string];
const client = await createSqliteClient({ folder, modules: [new URL(module)], failpoint, onFatal: failOnFatal });
console.log("open");
await client.stop();
