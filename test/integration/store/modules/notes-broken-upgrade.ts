import type { StoreModule } from "../../../../packages/server/src/store/sqlite/module.ts";
import { FIRST_MIGRATION } from "./notes-v1.ts";

export const storeModule: StoreModule = {
  name: "notes",
  migrations: [FIRST_MIGRATION, "DELETE FROM notes;", "THIS IS NOT SQL;"],
  operations: {},
};
