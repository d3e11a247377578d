import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

const HERE = import.meta.dirname;
/** Where nothing of this platform can be tested here, a row says where else, or why not. */
const ELSEWHERE = /in a cluster|not a test/;

/** The rows of the tables by their headings. */
function readTables(): Map<string, string[][]> {
  const tables = new Map<string, string[][]>();
  let rows: string[][] = [];
  for (const line of readFileSync(join(HERE, "coverage.md"), "utf8").split("\n")) {
    if (line.startsWith("## ")) tables.set(line.slice(3), (rows = []));
    else if (line.startsWith("| ") && !line.startsWith("| ---")) rows.push(line.slice(2, -2).split(" | "));
  }
  for (const [name, found] of tables) tables.set(name, found.slice(1));
  return tables;
}

function readTest(path: string): string {
  const found = [join(HERE, path), join(HERE, "..", path)].find((file) => existsSync(file));
  assert.ok(found !== undefined, `${path} is not there`);
  return readFileSync(found, "utf8");
}

const tables = readTables();

for (const [heading, rows] of tables) {
  describe(`coverage.md: ${heading}`, () => {
    for (const [what = "", where = ""] of rows) {
      test(what, () => {
        const references = [...where.matchAll(/`([^`]+)` “([^”]+)”/g)];
        assert.ok(references.length > 0 || ELSEWHERE.test(where), "names no test");
        for (const [, path = "", words = ""] of references) assert.ok(readTest(path).includes(words), `${path} has no longer: ${words}`);
      });
    }
  });
}

test("every complaint has its row", () => {
  const numbers = (tables.get("What users of other platforms complain about") ?? []).map(([what = ""]) => Number.parseInt(what, 10));
  assert.deepEqual(
    numbers,
    Array.from({ length: 52 }, (_, index) => index + 1),
  );
});
