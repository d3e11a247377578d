import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ERRORS, type ErrorCode } from "../../packages/contracts/src/index.ts";
import { renderErrorReference } from "./error-reference.ts";

const ROOT = join(import.meta.dirname, "../..");

test("the reference has every error of the catalogue, under its status", () => {
  const rows = renderErrorReference()
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const listed = rows.map((row) => row.replace(/^\| `(\w+)` \| (\d+) \|.*$/, "$1 $2"));
  const wanted = Object.entries(ERRORS).map(([code, { status }]) => `${code} ${status}`);
  assert.deepEqual(listed.sort(), wanted.sort());
});

test("the pages name errors by their real status", () => {
  const pages = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md"));
  let checked = 0;
  for (const page of pages) {
    for (const [said, status, code] of readFileSync(join(ROOT, "docs", page), "utf8").matchAll(/\b([45]\d\d),? `([A-Z]+(?:_[A-Z]+)*)`/g)) {
      assert.equal(ERRORS[code as ErrorCode]?.status, Number(status), `docs/${page}: ${said}`);
      checked++;
    }
  }
  assert.ok(checked > 10, `${checked} found`);
});
