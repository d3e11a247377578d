import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AREAS, ELSEWHERE } from "./points.ts";

const SOURCE = join(import.meta.dirname, "../../../../packages/server/src");

/** What the source passes by name, and one for each operation of the store. */
async function findFailpoints(): Promise<string[]> {
  const files = globSync("**/*.ts", { cwd: SOURCE }).filter((file) => !file.endsWith(".test.ts"));
  const named = files.flatMap((file) => [...readFileSync(join(SOURCE, file), "utf8").matchAll(/\bfailpoint\("([^"]+)"\)/g)]);
  const operations: string[] = [];
  for (const file of files.filter((name) => readFileSync(join(SOURCE, name), "utf8").includes("export const storeModule"))) {
    const { storeModule } = await import(join(SOURCE, file));
    operations.push(...Object.keys(storeModule.operations).map((operation) => `store.${storeModule.name}.${operation}`));
  }
  return [...new Set([...named.map(([, name]) => name as string), ...operations])].sort();
}

test("every failpoint of the server is met by the kill tests, and they meet none that is not there", async () => {
  const met = Object.values(AREAS)
    .flat()
    .map(({ name }) => name);
  assert.deepEqual([...met, ...Object.keys(ELSEWHERE)].sort(), await findFailpoints());
});
