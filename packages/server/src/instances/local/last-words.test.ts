import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { ManualClock, systemClock } from "../../clock.ts";
import { hearLastWords } from "./last-words.ts";

test("what a child wrote last is heard although its end was told first", async () => {
  const child = spawn("/bin/sh", ["-c", "head -c 300000 /dev/zero; echo last"], { stdio: ["ignore", "pipe", "ignore"] });
  const { stdout } = child;
  let text = "";
  stdout.on("data", (chunk: Buffer) => (text = (text + chunk.toString()).slice(-5)));
  await once(child, "exit");
  await hearLastWords([stdout], systemClock);
  assert.equal(text, "last\n");
});

test("streams that were over before are not waited for", async () => {
  const ended = new PassThrough();
  ended.end();
  ended.resume();
  await once(ended, "end");
  const destroyed = new PassThrough().destroy();
  await hearLastWords([ended, destroyed], systemClock);
});

test("a stream that something left behind holds open is waited for within a bound", async () => {
  const clock = new ManualClock();
  const heard = hearLastWords([new PassThrough()], clock);
  await clock.advance(1000);
  await heard;
});
