import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../clock.ts";
import { type EventStream, EventStreams } from "./event-streams.ts";

const HEARTBEAT_MS = 15_000;

/** A stream with a real reader, who is allowed for as long as `reader.isAllowed` says. */
async function open(t: TestContext) {
  const clock = new ManualClock();
  const streams = new EventStreams(clock);
  const reader = { isAllowed: true, closed: 0 };
  const opened: EventStream[] = [];
  const server = createServer((_request, response) => {
    const isStillAllowed = async (): Promise<boolean> => reader.isAllowed;
    opened.push(streams.open(response, { requestId: "id", isStillAllowed, onClose: () => reader.closed++ }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return { clock, streams, reader, response, stream: opened[0]! };
}

test("a stream beats, and ends at the beat when its reader may no longer read, as when a token has ended", {
  timeout: 10_000,
}, async (t) => {
  const { clock, reader, response, stream } = await open(t);
  await clock.advance(HEARTBEAT_MS);
  stream.send({ line: 1 });
  reader.isAllowed = false;
  await clock.advance(HEARTBEAT_MS);
  assert.equal(await response.text(), ':\n\ndata: {"line":1}\n\n:\n\n');
  assert.throws(() => stream.send({ line: 2 }), { message: "The reader of this stream is gone" });
  assert.equal(clock.pendingTimers, 0);
});

test("a stream ends at once when it is asked anew and its reader may no longer read, else it goes on", { timeout: 10_000 }, async (t) => {
  const { streams, reader, response, stream } = await open(t);
  streams.endForbidden();
  await new Promise((resolve) => setImmediate(resolve));
  stream.send({ line: 1 });
  reader.isAllowed = false;
  streams.endForbidden();
  assert.equal(await response.text(), 'data: {"line":1}\n\n');
});
