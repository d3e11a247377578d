import assert from "node:assert/strict";
import { once } from "node:events";
import { Duplex, PassThrough } from "node:stream";
import { test } from "node:test";
import { ManualClock } from "../../clock.ts";
import { encodeFrame, FrameType, PROTOCOL_VERSION } from "../../protocol/frames.ts";
import type { SandboxedProcess, SandboxExit } from "./sandbox/port.ts";
import { awaitHello } from "./waiting-replica.ts";

test("the end of a replica that was claimed does not keep its last frames from being read", async () => {
  const frames = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const { promise: exited, resolve: exit } = Promise.withResolvers<SandboxExit>();
  const process: SandboxedProcess = {
    id: "r1",
    pid: 1,
    frames,
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    exited,
    memoryMiB: async () => 0,
    kill: () => undefined,
  };
  const waiting = awaitHello({ process, functionFolder: undefined, runtime: "nodejs18", memoryMiB: 256 }, new ManualClock(), 1000);
  frames.push(encodeFrame(0, FrameType.HELLO, false, `{"protocol":${PROTOCOL_VERSION}}`, Buffer.alloc(0)));
  await waiting;

  const received = once(frames, "data");
  frames.resume();
  exit({ code: 1, signal: null });
  await exited;
  await new Promise((resolve) => setImmediate(resolve));
  frames.push("last");
  assert.equal(String(((await received) as [Buffer])[0]), "last");
});
