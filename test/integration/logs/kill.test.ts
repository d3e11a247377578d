import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { createFunctionLogs } from "../../../packages/server/src/logs/function-logs.ts";

const WRITER = join(import.meta.dirname, "writer.ts");

async function readNumbers(folder: string): Promise<number[]> {
  const logs = createFunctionLogs({ folder, clock: systemClock });
  const entries = await logs.query("u1", { tail: 1_000_000 });
  return entries.filter(({ dropped }) => dropped === undefined).map(({ message }) => Number.parseInt(message, 10));
}

function bytesOf(folder: string): number {
  try {
    return readdirSync(join(folder, "u1")).reduce((sum, name) => sum + statSync(join(folder, "u1", name)).size, 0);
  } catch {
    return 0;
  }
}

async function writeAndKill(folder: string, first: number, bytes: number): Promise<void> {
  const before = bytesOf(folder);
  const writer = spawn(process.execPath, [WRITER, folder, String(first)], { stdio: ["ignore", "ignore", "inherit"] });
  const exited = once(writer, "exit");
  const deadlineMs = Date.now() + 20_000;
  while (bytesOf(folder) < before + bytes) {
    assert.ok(Date.now() < deadlineMs && writer.exitCode === null, "the writer writes");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  writer.kill("SIGKILL");
  await exited;
}

test("killed again and again while it writes, a log keeps every line that was written, in order and whole", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ks-logs-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  let known: number[] = [];
  for (let round = 0; round < 4; round++) {
    const first = round * 1_000_000;
    await writeAndKill(folder, first, 100_000 + round * 77_777);
    const numbers = await readNumbers(folder);
    assert.deepEqual(numbers.slice(0, known.length), known, "what was there before");
    const fresh = numbers.slice(known.length);
    assert.ok(fresh.length > 100);
    assert.deepEqual(
      fresh,
      fresh.map((_, index) => first + index),
    );
    known = numbers;
  }
});
