import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { ManualClock } from "../../clock.ts";
import { OutputValve } from "./output-valve.ts";

function setUp() {
  const clock = new ManualClock();
  const stream = new PassThrough({ highWaterMark: 64 * 1024 * 1024 });
  const seen = { bytes: 0, dropped: 0 };
  new OutputValve(stream, clock, {
    chunk: (chunk) => void (seen.bytes += chunk.length),
    dropped: (bytes) => void (seen.dropped += bytes),
  });
  const write = async (chunk: Buffer, times: number): Promise<void> => {
    for (let i = 0; i < times; i++) stream.write(chunk);
    await clock.advance(0);
  };
  return { clock, stream, seen, write };
}

const LINES = Buffer.from("line\n".repeat(10_000));
const LONG = Buffer.alloc(64 * 1024, "x");

test("a line of 3 MB passes whole", async () => {
  const { seen, write } = setUp();
  await write(LONG, 48);
  assert.deepEqual(seen, { bytes: 48 * 65_536, dropped: 0 });
});

test("of a flood of short lines a bounded part passes, and the rest is counted", async () => {
  const { clock, stream, seen, write } = setUp();
  await write(LINES, 100);
  assert.ok(seen.bytes <= 3 * LINES.length, `${seen.bytes} bytes passed at once`);
  await clock.advance(5_000);
  const closed = new Promise((resolve) => stream.once("end", resolve));
  stream.end();
  for (let i = 0; i < 10; i++) await clock.advance(10);
  await closed;
  assert.equal(seen.bytes + seen.dropped, 100 * LINES.length);
  assert.ok(seen.dropped > 0);
});

test("the pipe rests while too much comes, and goes on by itself", async () => {
  const { clock, stream, write } = setUp();
  await write(LONG, 200);
  assert.equal(stream.isPaused(), true);
  await clock.advance(1_000);
  assert.equal(stream.isPaused(), false);
});

test("what comes slowly is never dropped", async () => {
  const { clock, seen, write } = setUp();
  for (let second = 0; second < 60; second++) {
    await write(Buffer.from("a line of a usual length, once\n".repeat(100)), 10);
    await clock.advance(1_000);
  }
  assert.equal(seen.dropped, 0);
});
