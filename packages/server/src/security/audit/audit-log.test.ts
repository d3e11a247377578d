import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../clock.ts";
import { TaskGroup } from "../../task-group.ts";
import type { Principal } from "../principal.ts";
import { type AuditEvent, encodeAuditLine } from "./audit-entry.ts";
import { AuditFile } from "./audit-file.ts";
import { AuditLog } from "./audit-log.ts";

const who: Principal = {
  subject: "key:abc",
  kind: "api-key",
  name: "ci",
  grants: [],
  expiresAtMs: undefined,
  rateLimit: undefined,
  maxConcurrency: undefined,
  claims: { secret: "not for the log" },
};
const event = (changes: Partial<AuditEvent> = {}): AuditEvent => ({
  who,
  verb: "update",
  resource: "functions",
  target: "orders",
  from: "203.0.113.9",
  requestId: "r-1",
  ...changes,
});

function open(t: TestContext, limits?: { totalBytes: number; segmentBytes: number }) {
  const folder = mkdtempSync(join(tmpdir(), "ks-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new ManualClock();
  const tasks = new TaskGroup({ error: () => {} });
  const make = () => new AuditLog({ folder, clock, tasks, ...(limits === undefined ? {} : { limits }) });
  return { folder, clock, tasks, make, log: make() };
}

function readLines(folder: string, name: "changes" | "refusals"): Record<string, unknown>[] {
  const files = readdirSync(join(folder, name)).sort();
  const text = files.map((file) => readFileSync(join(folder, name, file), "utf8")).join("");
  assert.ok(text.endsWith("\n"));
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

test("a change says who, what, when, from where and by which request", async (t) => {
  const { log, folder, clock } = open(t);
  log.add(event({ details: { generation: 7 } }));
  await log.flush();
  assert.deepEqual(readLines(folder, "changes"), [
    {
      time: new Date(clock.nowMs()).toISOString(),
      who: { subject: "key:abc", kind: "api-key", name: "ci" },
      verb: "update",
      resource: "functions",
      target: "orders",
      outcome: "done",
      from: "203.0.113.9",
      requestId: "r-1",
      details: { generation: 7 },
    },
  ]);
});

test("refusals stand apart, with their code, also of who is unknown", async (t) => {
  const { log, folder } = open(t);
  log.add(event({ who: undefined, refused: "UNAUTHENTICATED" }));
  await log.flush();
  const [line] = readLines(folder, "refusals");
  assert.equal(line?.["who"], null);
  assert.equal(line?.["outcome"], "refused");
  assert.equal(line?.["code"], "UNAUTHENTICATED");
});

test("entries are written soon without anybody asking, and appended after a restart", async (t) => {
  const { log, folder, clock, tasks, make } = open(t);
  log.add(event());
  await clock.advance(100);
  await tasks.drain();
  await log.stop();
  const again = make();
  again.add(event({ requestId: "r-2" }));
  await again.stop();
  assert.deepEqual(
    readLines(folder, "changes").map(({ requestId }) => requestId),
    ["r-1", "r-2"],
  );
});

test("the files are private and bounded; the oldest go first", async (t) => {
  const { log, folder } = open(t, { totalBytes: 20_000, segmentBytes: 4_000 });
  for (let i = 0; i < 500; i++) {
    log.add(event({ requestId: `r-${i}` }));
    if (i % 10 === 9) await log.flush();
  }
  const files = readdirSync(join(folder, "changes"));
  const bytes = files.reduce((sum, file) => sum + statSync(join(folder, "changes", file)).size, 0);
  assert.ok(bytes <= 20_000, `${bytes}`);
  assert.equal(readLines(folder, "changes").at(-1)?.["requestId"], "r-499");
  for (const file of files) assert.equal(statSync(join(folder, "changes", file)).mode & 0o777, 0o600);
});

test("a storm of refusals is thinned out and counted, and keeps no change from the log", async (t) => {
  const { log, folder, clock } = open(t);
  for (let i = 0; i < 5_000; i++) log.add(event({ who: undefined, refused: "UNAUTHENTICATED" }));
  log.add(event());
  await clock.advance(50);
  log.add(event({ refused: "FORBIDDEN" }));
  await log.flush();
  const refusals = readLines(folder, "refusals");
  assert.equal(refusals.length, 501);
  assert.equal(refusals.at(-1)?.["suppressed"], 4_500);
  assert.equal(readLines(folder, "changes").length, 1);
});

test("while the disk fails nothing waits for it, a bounded number is kept and written later", async () => {
  const written: string[] = [];
  let isFull = true;
  const clock = new ManualClock();
  const tasks = new TaskGroup({ error: () => {} });
  const segments = {
    open: async () => {},
    append: async (lines: Buffer, onWritten: () => void) => {
      if (isFull) throw new Error("ENOSPC");
      written.push(lines.toString());
      onWritten();
    },
  };
  const file = new AuditFile({ segments, clock, tasks, maxWaiting: 3 });
  assert.deepEqual(
    [1, 2, 3, 4].map((n) => file.add(`${n}\n`)),
    [true, true, true, false],
  );
  await clock.advance(100);
  await tasks.drain();
  assert.equal(file.isHealthy, false);
  isFull = false;
  await clock.advance(60_000);
  await tasks.drain();
  assert.equal(file.isHealthy, true);
  assert.deepEqual(written, ["1\n2\n3\n"]);
  assert.equal(file.dropped, 1);
});

test("a torn last line, as a kill leaves it, spoils no other", async (t) => {
  const { log, folder, make } = open(t);
  log.add(event());
  await log.stop();
  const file = join(folder, "changes", readdirSync(join(folder, "changes"))[0]!);
  writeFileSync(file, `${readFileSync(file, "utf8")}{"time":"20`);
  const again = make();
  again.add(event({ requestId: "r-2" }));
  await again.stop();
  assert.equal(JSON.parse(readFileSync(file, "utf8").trimEnd().split("\n").at(-1)!).requestId, "r-2");
});

test("whatever a caller sends, an entry is one line of JSON that no terminal obeys", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const line = encodeAuditLine(event({ target: text, requestId: text, from: text }), 0, 0);
      assert.match(line, /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202e]+\n$/);
      const { target } = JSON.parse(line);
      assert.equal(target.slice(0, 256), JSON.parse(JSON.stringify(text)).slice(0, 256));
    }),
    { numRuns: 1000, examples: [["\u001b[2J\r\n{}"], ["\u009b31m\u202eevil\u2028"], ["x".repeat(5000)], ["\ud800"]] },
  );
});
