import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { LogEntry } from "@kube-serverless/contracts";
import { ManualClock } from "../clock.ts";
import { createFunctionLogs, type FunctionLogsOptions, type LogSource } from "./function-logs.ts";

const source: LogSource = { stream: "stdout", requestId: "r1", replica: "p1", revision: 3 };

function setUp(t: TestContext, changes: Partial<FunctionLogsOptions> = {}) {
  const folder = changes.folder ?? mkdtempSync(join(tmpdir(), "ks-logs-"));
  const clock = new ManualClock();
  const errors: unknown[] = [];
  const logs = createFunctionLogs({ folder, clock, onWriteError: (error) => errors.push(error), ...changes });
  t.after(async () => {
    await logs.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const print = (uid: string, text: string, from: Partial<LogSource> = {}) =>
    logs.appendLines(uid, { ...source, ...from }, Buffer.from(text), clock.nowMs(), false);
  const read = async (uid: string, query = {}) => (await logs.query(uid, query)).map(({ message }) => message);
  return { folder, clock, logs, errors, print, read };
}

/** Lets the writes that are due happen, however long the disk takes. */
async function settle(clock: ManualClock, isDone: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpMs = performance.now() + 20_000;
  while (performance.now() < giveUpMs) {
    if (await isDone()) return;
    await clock.advance(10);
  }
  assert.fail("it did not happen");
}

function filesOf(folder: string, uid: string): { name: string; size: number }[] {
  try {
    return readdirSync(join(folder, uid)).map((name) => ({ name, size: statSync(join(folder, uid, name)).size }));
  } catch {
    return [];
  }
}

function bytesOf(folder: string, uid: string): number {
  return filesOf(folder, uid).reduce((sum, { size }) => sum + size, 0);
}

test("what was printed can be read at once, as entries with all their fields", async (t) => {
  const { logs, clock } = setUp(t);
  logs.appendLines("u1", source, Buffer.from("one\ntwo"), clock.nowMs(), true);
  const time = new Date(clock.nowMs()).toISOString();
  const entry = { time, stream: "stdout", requestId: "r1", replica: "p1", revision: 3 };
  assert.deepEqual(await logs.query("u1", {}), [
    { ...entry, message: "one" },
    { ...entry, message: "two", truncated: true },
  ]);
  assert.deepEqual(await logs.query("other", {}), []);
});

test("a restart finds it, with files for their owner's eyes alone", async (t) => {
  const { logs, folder, print } = setUp(t);
  print("u1", "before");
  await logs.stop();
  assert.equal(statSync(join(folder, "u1")).mode & 0o777, 0o700);
  assert.equal(statSync(join(folder, "u1", "00000001.ndjson")).mode & 0o777, 0o600);
  const again = setUp(t, { folder });
  again.print("u1", "after");
  assert.deepEqual(await again.read("u1"), ["before", "after"]);
});

test("lines that come apart are written together, and an idle server writes nothing", async (t) => {
  const { clock, print, folder } = setUp(t);
  for (let i = 0; i < 1_000; i++) print("u1", `line ${i}`);
  assert.equal(clock.pendingTimers, 1);
  await settle(clock, () => bytesOf(folder, "u1") > 0 && clock.pendingTimers === 0);
  await clock.advance(60_000);
  assert.equal(clock.pendingTimers, 0);
});

test("the last 100 by default, any number by tail, across memory and files", async (t) => {
  const { clock, print, read, folder } = setUp(t, { limits: { totalBytes: 100_000, segmentBytes: 10_000 } });
  for (let i = 0; i < 150; i++) print("u1", `${i}`);
  await settle(clock, () => bytesOf(folder, "u1") > 0 && clock.pendingTimers === 0);
  for (let i = 150; i < 200; i++) print("u1", `${i}`);
  const numbers = (from: number) => Array.from({ length: 200 - from }, (_, index) => `${from + index}`);
  assert.deepEqual(await read("u1"), numbers(100));
  assert.deepEqual(await read("u1", { tail: 3 }), ["197", "198", "199"]);
  assert.deepEqual(await read("u1", { tail: 1_000 }), numbers(0));
  assert.deepEqual(await read("u1", { tail: 0 }), []);
});

test("by request and by time", async (t) => {
  const { clock, print, read, folder } = setUp(t);
  print("u1", "old", { requestId: "a" });
  await clock.advance(3_600_000);
  const sinceMs = clock.nowMs();
  print("u1", "new a", { requestId: "a" });
  print("u1", "new b", { requestId: "b" });
  print("u1", "mentions a", { requestId: null });
  for (const place of ["memory", "disk"]) {
    assert.deepEqual(await read("u1", { requestId: "a" }), ["old", "new a"], place);
    assert.deepEqual(await read("u1", { sinceMs }), ["new a", "new b", "mentions a"], place);
    assert.deepEqual(await read("u1", { sinceMs, requestId: "a" }), ["new a"], place);
    await settle(clock, () => bytesOf(folder, "u1") > 0 && clock.pendingTimers === 0);
  }
});

test("a function keeps no more than its share, and the newest of it", async (t) => {
  const limits = { totalBytes: 2_000_000, segmentBytes: 500_000 };
  const { logs, print, folder } = setUp(t, { limits, maxPendingCharacters: 100_000_000, maxTotalPendingCharacters: 100_000_000 });
  for (let i = 0; i < 20_000; i++) print("u1", `line number ${i} ${"x".repeat(80)}`);
  await logs.stop();
  const bytes = bytesOf(folder, "u1");
  assert.ok(bytes <= limits.totalBytes && bytes > limits.totalBytes / 2, `${bytes} bytes`);
  const all = await setUp(t, { folder }).read("u1", { tail: 100_000 });
  assert.match(all.at(-1)!, /^line number 19999 /);
  assert.match(all[0]!, new RegExp(`^line number ${20_000 - all.length} `));
});

test("a function that prints faster than is written loses lines, and says how many", async (t) => {
  const { clock, print, read, logs, folder } = setUp(t, { maxPendingCharacters: 10_000 });
  for (let i = 0; i < 100; i++) print("u1", "x".repeat(300));
  // 20 lines of 300 + 200 fit.
  assert.equal((await read("u1")).length, 20);
  await settle(clock, () => bytesOf(folder, "u1") > 0 && clock.pendingTimers === 0);
  print("u1", "after");
  const entries = await logs.query("u1", {});
  assert.deepEqual(
    entries.slice(-2).map(({ message, dropped, stream }) => ({ message, dropped, stream })),
    [
      { message: "80 lines were dropped", dropped: 80, stream: "system" },
      { message: "after", dropped: undefined, stream: "stdout" },
    ],
  );
  assert.equal(entries.length, 22);
});

test("functions share the memory of what waits", async (t) => {
  const { print, read } = setUp(t, { maxTotalPendingCharacters: 1_000 });
  print("u1", "x".repeat(700));
  print("u2", "x".repeat(700));
  assert.equal((await read("u1")).length, 1);
  assert.equal((await read("u2")).length, 0);
});

test("a full disk drops and counts, and writing goes on when there is room again", async (t) => {
  const { clock, logs, print, read, errors, folder } = setUp(t);
  mkdirSync(join(folder, "u1"));
  const file = join(folder, "u1", "00000001.ndjson");
  symlinkSync("/dev/full", file);
  for (let i = 0; i < 5; i++) print("u1", `lost ${i}`);
  await settle(clock, () => errors.length > 0);
  assert.equal((errors[0] as NodeJS.ErrnoException).code, "ENOSPC");
  print("other", "unharmed");
  print("u1", "waits");
  unlinkSync(file);
  writeFileSync(file, "");
  await settle(clock, () => bytesOf(folder, "u1") > 0 && bytesOf(folder, "other") > 0);
  assert.deepEqual(await read("u1"), ["5 lines were dropped", "waits"]);
  assert.deepEqual(await read("other"), ["unharmed"]);
  await logs.stop();
  assert.deepEqual(await setUp(t, { folder }).read("u1"), ["5 lines were dropped", "waits"]);
});

test("a line torn by a kill is passed over and spoils no other", async (t) => {
  const { logs, print, folder } = setUp(t);
  print("u1", "whole");
  await logs.stop();
  const file = join(folder, "u1", "00000001.ndjson");
  writeFileSync(file, '{"time":"2024-01-15T10:30:00.000Z","stream":"stdout","requestId":null,"mess', { flag: "a" });
  const again = setUp(t, { folder });
  assert.deepEqual(await again.read("u1"), ["whole"]);
  again.print("u1", "next");
  await again.logs.stop();
  assert.deepEqual(await setUp(t, { folder }).read("u1"), ["whole", "next"]);
});

test("lines longer than a read, and characters across reads, come back whole", async (t) => {
  const { logs, print, read, clock, folder } = setUp(t);
  const long = "ü🚀".repeat(10_000);
  for (let i = 0; i < 8; i++) print("u1", `${i}${long}`);
  await settle(clock, () => bytesOf(folder, "u1") > 400_000 && clock.pendingTimers === 0);
  assert.deepEqual(
    (await read("u1")).map((message) => message === `${message[0]}${long}`),
    Array(8).fill(true),
  );
  await logs.stop();
});

test("following shows what was there, then what comes, each once and in order", async (t) => {
  const { clock, logs, print, folder } = setUp(t);
  const seen: string[] = [];
  for (let i = 0; i < 50; i++) print("u1", `${i}`);
  await settle(clock, () => bytesOf(folder, "u1") > 0);
  for (let i = 50; i < 60; i++) print("u1", `${i}`);
  const following = logs.follow("u1", { tail: 30 }, { onEntry: ({ message }) => seen.push(message), onEnd: () => assert.fail("goes on") });
  for (let i = 60; i < 300; i++) {
    print("u1", `${i}`);
    if (i % 20 === 0) await clock.advance(60);
  }
  const newest = (): number => Number(seen.at(-1) ?? -1);
  await settle(clock, () => newest() === 299);
  const first = Number(seen[0]);
  assert.ok(first >= 30 && first <= 31 + 1, `began at ${first}`);
  assert.deepEqual(
    seen,
    Array.from({ length: 300 - first }, (_, index) => `${first + index}`),
  );
  following.stop();
  print("u1", "unseen");
  assert.equal(newest(), 299);
});

test("following one request shows nothing else, and a follower that throws is let go", async (t) => {
  const { clock, logs, print } = setUp(t);
  const seen: string[] = [];
  const ends: string[] = [];
  logs.follow("u1", { requestId: "b" }, { onEntry: ({ message }) => seen.push(message), onEnd: () => ends.push("b") });
  const broken = () => {
    throw new Error("connection gone");
  };
  logs.follow("u1", {}, { onEntry: broken, onEnd: () => ends.push("broken") });
  await clock.advance(10);
  print("u1", "for a", { requestId: "a" });
  print("u1", "for b", { requestId: "b" });
  await settle(clock, () => seen.length > 0 && ends.length > 0);
  assert.deepEqual(seen, ["for b"]);
  assert.deepEqual(ends, ["broken"]);
  await logs.stop();
  assert.deepEqual(ends, ["broken", "b"]);
});

test("a deleted function's log is gone, late lines included, and its followers end", async (t) => {
  const { clock, logs, print, read, folder } = setUp(t);
  let ended = false;
  print("u1", "one");
  print("u2", "stays");
  logs.follow("u1", {}, { onEntry: () => {}, onEnd: () => (ended = true) });
  await settle(clock, () => bytesOf(folder, "u1") > 0);
  await logs.remove("u1");
  print("u1", "late");
  await clock.advance(5_000);
  assert.equal(ended, true);
  assert.deepEqual(await read("u1"), []);
  await settle(clock, () => clock.pendingTimers === 0);
  assert.deepEqual(readdirSync(folder), ["u2"]);
  assert.deepEqual(await read("u2"), ["stays"]);
});

test("prune deletes what a kill in the middle of a deletion left", async (t) => {
  const { logs, print, folder } = setUp(t);
  print("gone", "one");
  print("kept", "two");
  await logs.stop();
  const again = setUp(t, { folder });
  await again.logs.prune(new Set(["kept"]));
  assert.deepEqual(readdirSync(folder), ["kept"]);
});

test("bytes of a pipe become lines", async (t) => {
  const { logs, read } = setUp(t);
  const sink = logs.lineSink("u1", { ...source, stream: "stderr", requestId: null });
  sink.write(Buffer.from("Traceback\n  File"), null);
  sink.write(Buffer.from(' "handler.py"\nlast'), null);
  assert.deepEqual(await read("u1"), ["Traceback", '  File "handler.py"']);
  sink.end();
  const entries: LogEntry[] = await logs.query("u1", { tail: 1 });
  assert.deepEqual(
    entries.map(({ message, stream, requestId }) => ({ message, stream, requestId })),
    [{ message: "last", stream: "stderr", requestId: null }],
  );
});

test("lines that pass each other within a moment stand by their time", async (t) => {
  const { logs, clock, read } = setUp(t);
  const startMs = clock.nowMs();
  await clock.advance(9);
  const sink = logs.lineSink("u1", { ...source, requestId: null });
  sink.write(Buffer.from("raw at 9\n"), "r2");
  for (const late of [3, 5, 3]) logs.appendLines("u1", source, Buffer.from(`at ${late}`), startMs + late, false);
  assert.deepEqual(await read("u1"), ["at 3", "at 3", "at 5", "raw at 9"]);
});

test("a time that a replica makes up is not believed", async (t) => {
  const { logs, clock } = setUp(t);
  for (const timeMs of [Number.NaN, -1, 9e15, clock.nowMs() + 86_400_000]) logs.appendLines("u1", source, Buffer.from("x"), timeMs, false);
  const now = new Date(clock.nowMs()).toISOString();
  assert.deepEqual([...new Set((await logs.query("u1", {})).map(({ time }) => time))], [now]);
});
