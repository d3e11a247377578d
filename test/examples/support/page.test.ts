import assert from "node:assert/strict";
import { test } from "node:test";
import { compareOutput, parsePage } from "./page.ts";

const json = (text: string, printed: string): boolean => compareOutput({ language: "json", text }, printed) === undefined;
const text = (shown: string, printed: string): boolean => compareOutput({ language: "text", text: shown }, printed) === undefined;

test("a page's commands stand with the outputs that follow them", () => {
  const page = parsePage(
    "# A page\n<!-- server: --pool-size 0 -->\n<!-- needs: go -->\n```js file=a.js\n1;\n```\n```bash run\nls\n```\n\n```text output\na.js\n```\n```bash\nrm -r /\n```\n```bash run until\npwd\n```\n",
  );
  assert.deepEqual(page.flags, ["--pool-size", "0"]);
  assert.deepEqual(page.needs, ["go"]);
  assert.deepEqual(page.files, [{ name: "a.js", text: "1;\n" }]);
  assert.deepEqual(page.steps, [
    { line: 7, commands: "ls\n", until: false, expected: { language: "text", text: "a.js\n" } },
    { line: 17, commands: "pwd\n", until: true, expected: undefined },
  ]);
});

test("what differs from run to run is not compared, and the rest is", () => {
  assert.ok(text("at 2026-01-01T00:00:00.000Z it took 0.0123", "at 2027-02-03T04:05:06.007Z it\ntook 12.3456\n"));
  assert.ok(text("id …, done", "id 7, done"));
  assert.ok(!text("id …, done", "id 7, failed"));
  assert.ok(!text("a", "a b"));
  assert.ok(json('{"a": 1, "b": "…"}', '{"b": [1], "a": 1}'));
  assert.ok(json('{"a": 0.5, "…": "…"}', '{"a": 0.25, "c": 1}'));
  assert.ok(!json('{"a": 1}', '{"a": 2}'));
  assert.ok(!json('{"a": 1}', '{"a": 1, "c": 1}'));
  assert.ok(json('[1, "…"]', "[1, 2, 3]"));
  assert.ok(json('[1, "…"]', "[1]"));
  assert.ok(!json('[1, "…"]', "[2, 1]"));
  assert.ok(!json('[{"a": 1}]', '[{"a": 1}, {}]'));
  assert.ok(!json('{"a": "x"}', "no JSON"));
});
