import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const FILES = {
  "good.test.mjs": 'test("good", () => {}); test("as good", () => {});',
  "late.test.mjs": 'test("late", async (t) => { await t.test("within", () => new Promise((resolve) => setTimeout(resolve, 60_000))); });',
  "busy.test.mjs":
    'test("before", () => {}); test("busy", async () => { await new Promise((resolve) => setTimeout(resolve, 200)); for (;;); }); test("behind", () => {});',
};

/** In a process of its own: a test that runs tests is refused. */
function buildScript(folder: string): string {
  const stage = { name: "any", files: Object.keys(FILES), concurrency: 2, testTimeoutMs: 500, fileTimeoutMs: 5000, needsGo: false };
  return `import { runStage } from ${JSON.stringify(join(import.meta.dirname, "run-stage.ts"))};
    import { formatTotals, Tally } from ${JSON.stringify(join(import.meta.dirname, "tally.ts"))};
    const tally = new Tally();
    await runStage(${JSON.stringify(folder)}, ${JSON.stringify(stage)}, tally, new AbortController().signal);
    console.log(formatTotals(tally));
    process.exit();`;
}

test("what hangs is ended, counted once and named, and the rest runs", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ks-stage-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, code] of Object.entries(FILES)) writeFileSync(join(folder, name), `import { test } from "node:test";\n${code}\n`);
  writeFileSync(join(folder, "main.mjs"), buildScript(folder));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout: said } = await promisify(execFile)(process.execPath, [join(folder, "main.mjs")], { env });
  assert.match(said, /^3 passed, 2 failed$/m);
  assert.match(said, /✔ good\.test\.mjs/);
  assert.match(said, /✖ late\.test\.mjs › late › within/);
  assert.match(said, /✖ busy\.test\.mjs\n +it was ended from outside, out of time or interrupted, while 'busy' ran/);
});
