import assert from "node:assert/strict";
import { duplexPair, type Duplex } from "node:stream";
import { describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import fc from "fast-check";
import { ManualClock } from "../clock.ts";
import { encodeFrame, FrameDecoder, FrameType, INITIAL_CREDIT_BYTES, MAX_FRAME_LENGTH } from "../protocol/frames.ts";
import { FrameReplica } from "./frame-replica.ts";
import type { CallSink, ResponseHead, RevisionRef } from "./port.ts";

const NOTHING = Buffer.alloc(0);
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const settle = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await turn();
};

const REVISION: RevisionRef = {
  uid: "u1",
  name: "f",
  revision: 3,
  spec: {
    name: "f",
    runtime: "nodejs18",
    handler: "index.handler",
    environment: { A: "1" },
    minReplicas: 0,
    maxReplicas: 1,
    triggers: [],
    timeout: 5,
    memory: 256,
    concurrency: 10,
    network: "outbound",
  },
};

class Outcome implements CallSink {
  head: ResponseHead | undefined;
  readonly pieces: Buffer[] = [];
  error: KsError | undefined;
  notStarted: KsError | undefined;
  ends = 0;
  stalled = 0;
  onStalled(): void {
    this.stalled++;
  }
  onHead(head: ResponseHead, piece: Buffer, more: boolean): void {
    this.head = head;
    this.onData(piece, more);
  }
  onData(piece: Buffer, more: boolean): void {
    assert.equal(this.ends, 0, "data after the end");
    this.pieces.push(piece);
    if (!more) this.ends++;
  }
  onError(error: KsError): void {
    this.error = error;
    this.ends++;
  }
  onNotStarted(cause: KsError): void {
    this.notStarted = cause;
    this.ends++;
  }
}

/** The gateway's side against a socket that a test speaks on as the replica would. */
function buildReplica() {
  const clock = new ManualClock();
  const [near, far]: [Duplex, Duplex] = duplexPair({ highWaterMark: 8 * 1024 * 1024 });
  const printed: string[] = [];
  let killed = 0;
  const received: { stream: number; kind: number; more: boolean; body: Buffer }[] = [];
  const decoder = new FrameDecoder((stream, kind, more, _meta, body) => received.push({ stream, kind, more, body }), MAX_FRAME_LENGTH);
  far.on("data", (chunk: Buffer) => decoder.push(chunk));
  const replica = new FrameReplica({
    id: "r1",
    revision: REVISION,
    clock,
    loadTimeoutMs: 10_000,
    onPrinted: ({ body }) => printed.push(body.toString()),
    onAbandoned: () => undefined,
  });
  const specialise = (): void =>
    replica.specialise(
      { socket: near, kill: () => void killed++ },
      { code: Buffer.from("code"), module: "commonjs", concurrency: 10, runtimeVersion: "18", fromPool: true, startMs: 0 },
    );
  const send = async (stream: number, kind: number, meta: object = {}, body: Buffer = NOTHING, more = false): Promise<void> => {
    far.write(encodeFrame(stream, kind, more, JSON.stringify(meta), body));
    await settle();
  };
  const call = (body: readonly Buffer[] = []): { outcome: Outcome; handle: ReturnType<FrameReplica["call"]> } => {
    const outcome = new Outcome();
    const head = { id: "q", method: "POST", path: "/", query: {}, headers: {}, trigger: { type: "invoke" as const }, timeoutMs: 5000 };
    return { outcome, handle: replica.call(head, body, outcome) };
  };
  return { clock, replica, specialise, send, call, far, printed, received, killed: () => killed };
}

async function buildReady() {
  const house = buildReplica();
  house.specialise();
  await house.send(0, FrameType.READY, { loadMs: 1 });
  return house;
}

const OK = { kind: "json", durationMs: 2 };

describe("FrameReplica", () => {
  test("sends SPECIALISE and the calls that wait in one write, and answers them after READY", async () => {
    const house = buildReplica();
    const { outcome } = house.call([Buffer.from("{}")]);
    house.specialise();
    await settle();
    assert.deepEqual(
      house.received.map(({ kind }) => kind),
      [FrameType.SPECIALISE, FrameType.CALL],
    );
    await house.send(0, FrameType.READY, { loadMs: 1 });
    await house.send(1, 200, OK, Buffer.from("1"));
    assert.equal(outcome.head?.status, 200);
    assert.equal((await house.replica.ready).fromPool, true);
  });

  test("a large body goes in pieces within the credit", async () => {
    const house = await buildReady();
    house.call([Buffer.alloc(1_000_000, 7)]);
    await settle();
    const sent = (): number => house.received.filter(({ kind }) => kind === FrameType.DATA).reduce((sum, { body }) => sum + body.length, 0);
    assert.ok(sent() <= INITIAL_CREDIT_BYTES && sent() > INITIAL_CREDIT_BYTES - 65_536, `${sent()}`);
    const credit = Buffer.alloc(4);
    credit.writeUInt32BE(1_000_000);
    await house.send(1, FrameType.CREDIT, {}, credit);
    assert.equal(sent() + house.received.find(({ kind }) => kind === FrameType.CALL)!.body.length, 1_000_000);
    assert.equal(house.received.at(-1)?.more, false);
  });

  test("FAILED answers what waits with the reason, and nothing is moved elsewhere", async () => {
    const house = buildReplica();
    const { outcome } = house.call();
    house.specialise();
    await house.send(0, FrameType.FAILED, { reason: "SyntaxError", message: "SyntaxError: index.js:1" });
    assert.equal(outcome.error?.code, "FUNCTION_FAILED");
    await assert.rejects(house.replica.ready, (error: KsError) => (error.details as { reason: string }).reason === "SyntaxError");
    assert.equal(house.killed(), 1);
  });

  test("code that never ends at load fails after its time", async () => {
    const house = buildReplica();
    const { outcome } = house.call();
    house.specialise();
    await house.clock.advance(10_001);
    assert.equal((outcome.error!.details as { reason: string }).reason, "LoadTimeout");
  });

  test("a process that ends before READY gives its calls back; after it they fail", async () => {
    const house = buildReplica();
    const before = house.call();
    house.specialise();
    const { KsError } = await import("@kube-serverless/contracts");
    house.replica.end("crashed", new KsError("FUNCTION_CRASHED"));
    assert.equal(before.outcome.notStarted?.code, "FUNCTION_CRASHED");
    const ready = await buildReady();
    const after = ready.call();
    ready.replica.end("crashed", new KsError("FUNCTION_CRASHED"));
    assert.equal(after.outcome.error?.code, "FUNCTION_CRASHED");
    assert.equal((await ready.replica.exited).reason, "crashed");
  });

  test("a call that times out is answered, and the replica takes no more and ends with its last call", async () => {
    const house = await buildReady();
    const slow = house.call();
    await house.clock.advance(3000);
    const other = house.call();
    await house.clock.advance(2001);
    assert.equal(slow.outcome.error?.code, "TIMEOUT");
    assert.match(slow.outcome.error?.message ?? "", /5 s/);
    assert.equal(house.replica.accepting, false);
    assert.equal(house.killed(), 0);
    await house.send(0, FrameType.PONG);
    await house.send(1, 200, OK, Buffer.from("late"));
    await house.send(2, 200, OK, Buffer.from("1"));
    assert.equal(other.outcome.head?.status, 200);
    assert.equal(slow.outcome.ends, 1);
    assert.equal(house.killed(), 1);
  });

  test("an event loop that is held ends the replica within a second of the time-out, naming the cause", async () => {
    const house = await buildReady();
    const first = house.call();
    await house.clock.advance(4000);
    const second = house.call();
    await house.clock.advance(1001);
    assert.equal(first.outcome.error?.code, "TIMEOUT");
    await house.clock.advance(1001);
    assert.equal(second.outcome.error?.code, "FUNCTION_CRASHED");
    assert.match(second.outcome.error?.message ?? "", /: a call held the event loop of this replica/);
    assert.equal(house.killed(), 1);
  });

  test("a stream may take longer than the time-out, its pauses may not", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    await house.send(1, 200, { kind: "text", durationMs: 1 }, Buffer.from("a"), true);
    for (let i = 0; i < 4; i++) {
      await house.clock.advance(4000);
      await house.send(1, FrameType.DATA, {}, Buffer.from("b"), true);
    }
    assert.equal(outcome.ends, 0);
    await house.clock.advance(5001);
    assert.equal(outcome.error?.code, "TIMEOUT");
  });

  test("ABORT breaks a response off, ERROR answers with the function's error", async () => {
    const house = await buildReady();
    const stream = house.call();
    const thrown = house.call();
    await house.send(1, 200, { kind: "text", durationMs: 1 }, Buffer.from("a"), true);
    await house.send(1, FrameType.ABORT, { message: "disk" });
    assert.match(stream.outcome.error?.message ?? "", /disk/);
    await house.send(2, FrameType.ERROR, { code: "FUNCTION_ERROR", type: "TypeError", message: "boom", stack: "at x", durationMs: 3 });
    assert.equal(thrown.outcome.error?.message, "Internal server error: boom");
    assert.deepEqual(thrown.outcome.error?.details, { type: "TypeError", durationMs: 3, stack: "at x" });
  });

  test("each call that times out makes the replica prove anew that its event loop turns", async () => {
    const house = await buildReady();
    house.call();
    await house.clock.advance(2000);
    const second = house.call();
    await house.clock.advance(2000);
    const third = house.call();
    await house.clock.advance(1001);
    await house.send(0, FrameType.PONG);
    await house.clock.advance(2000);
    assert.equal(second.outcome.error?.code, "TIMEOUT");
    await house.clock.advance(1001);
    assert.match(third.outcome.error?.message ?? "", /event loop/);
  });

  test("a sooner end that is asked for later holds", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    house.replica.drain(60_000);
    house.replica.drain(0);
    await house.clock.advance(1);
    assert.equal(outcome.error?.code, "DRAINING");
    assert.equal(house.killed(), 1);
  });

  test("a replica without calls that does not leave when asked is ended soon", async () => {
    const house = await buildReady();
    house.replica.drain(60_000);
    await house.clock.advance(2001);
    assert.equal(house.killed(), 1);
  });

  test("a replica whose last call has ended and that does not leave is ended soon", async () => {
    const house = await buildReady();
    house.call();
    house.replica.drain(60_000);
    await house.clock.advance(4000);
    assert.equal(house.killed(), 0);
    await house.send(1, 200, OK, Buffer.from("1"));
    await house.clock.advance(2001);
    assert.equal(house.killed(), 1);
  });

  test("a replica that closes its end of the connection takes no more calls and answers those within", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    house.far.end();
    await settle();
    assert.equal(house.replica.accepting, false);
    await house.clock.advance(2001);
    assert.equal(outcome.error?.code, "FUNCTION_CRASHED");
    assert.equal(house.killed(), 1);
  });

  test("a caller that leaves before the process is there never reaches the handler", async () => {
    const house = buildReplica();
    const { outcome, handle } = house.call();
    handle.cancel();
    assert.equal(outcome.ends, 1);
    house.specialise();
    await house.send(0, FrameType.READY, { loadMs: 1 });
    assert.deepEqual(
      house.received.map(({ kind }) => kind),
      [FrameType.SPECIALISE],
    );
  });

  test("a caller that does not read its stream is cut off, which is not the function's time-out", async () => {
    const house = await buildReady();
    const { outcome, handle } = house.call();
    await house.send(1, 200, { kind: "text", durationMs: 1 }, Buffer.from("a"), true);
    for (let i = 0; i < 4; i++) await house.send(1, FrameType.DATA, {}, Buffer.alloc(65_536), true);
    await house.clock.advance(59_000);
    assert.equal(outcome.stalled, 0);
    await house.clock.advance(1001);
    assert.equal(outcome.stalled, 1);
    assert.equal(outcome.ends, 0);
    assert.equal(house.replica.accepting, true);
    handle.cancel();
    await house.send(1, FrameType.ABORT, { message: "the caller went away" });
    assert.equal(outcome.ends, 1);
    assert.equal(house.replica.accepting, true);
  });

  test("a stream's pause begins when its caller has taken something", async () => {
    const house = await buildReady();
    const { outcome, handle } = house.call();
    await house.send(1, 200, { kind: "text", durationMs: 1 }, Buffer.from("a"), true);
    for (let i = 0; i < 4; i++) await house.send(1, FrameType.DATA, {}, Buffer.alloc(65_536), true);
    await house.clock.advance(30_000);
    handle.credit(65_536);
    await house.clock.advance(4000);
    assert.equal(outcome.ends, 0);
    await house.clock.advance(1001);
    assert.equal(outcome.error?.code, "TIMEOUT");
  });

  test("a stream that does not end though its caller was cut off times out", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    await house.send(1, 200, { kind: "text", durationMs: 1 }, Buffer.from("a"), true);
    for (let i = 0; i < 4; i++) await house.send(1, FrameType.DATA, {}, Buffer.alloc(65_536), true);
    await house.clock.advance(60_001);
    await house.clock.advance(5001);
    assert.equal(outcome.error?.code, "TIMEOUT");
    assert.equal(house.replica.accepting, false);
  });

  test("a call whose head no frame can carry is refused, and nothing of it stays", async () => {
    const house = await buildReady();
    const outcome = new Outcome();
    const head = { id: "q", method: "GET", path: "/", query: { q: "\u0001".repeat(20_000) }, headers: {}, timeoutMs: 5000 };
    house.replica.call({ ...head, trigger: { type: "http" } }, [], outcome);
    assert.equal(outcome.error?.code, "HEADERS_TOO_LARGE");
    assert.equal(house.replica.inFlight, 0);
    const next = house.call();
    await house.send(2, 200, OK, Buffer.from("1"));
    assert.equal(next.outcome.head?.status, 200);
  });

  test("BUSY gives a call back", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    await house.send(1, FrameType.BUSY);
    assert.ok(outcome.notStarted);
  });

  test("an unknown type is passed over", async () => {
    const house = await buildReady();
    const { outcome } = house.call();
    await house.send(0, 77);
    await house.send(1, 78);
    await house.send(1, 204, { kind: "none", durationMs: 0 });
    assert.equal(outcome.head?.status, 204);
  });

  const hostile: [string, (house: Awaited<ReturnType<typeof buildReady>>) => Promise<void>][] = [
    ["a response on a stream that was never opened", (house) => house.send(99, 200, OK)],
    ["a response on stream 0", (house) => house.send(0, 200, OK)],
    [
      "a second head",
      async (house) => {
        await house.send(1, 200, OK, Buffer.from("a"), true);
        await house.send(1, 200, OK, Buffer.from("b"));
      },
    ],
    ["DATA before a head", (house) => house.send(1, FrameType.DATA, {}, Buffer.from("x"))],
    ["ABORT before a head", (house) => house.send(1, FrameType.ABORT, {})],
    ["a head without a kind", (house) => house.send(1, 200, {})],
    ["headers that are no pairs", (house) => house.send(1, 200, { ...OK, headers: ["a"] })],
    ["headers that are no strings", (house) => house.send(1, 200, { ...OK, headers: ["a", { b: 1 }] })],
    [
      "more DATA than its credit",
      async (house) => {
        await house.send(1, 200, OK, NOTHING, true);
        for (let i = 0; i < 6; i++) await house.send(1, FrameType.DATA, {}, Buffer.alloc(65_536), true);
      },
    ],
    ["a second HELLO", (house) => house.send(0, FrameType.HELLO, { protocol: 1 })],
    ["a second READY", (house) => house.send(0, FrameType.READY)],
    ["FAILED after READY", (house) => house.send(0, FrameType.FAILED, { reason: "x" })],
    ["SPECIALISE from the replica", (house) => house.send(0, FrameType.SPECIALISE)],
    ["CALL from the replica", (house) => house.send(1, FrameType.CALL)],
    [
      "a length of 4 GiB",
      async (house) => {
        house.far.write(Buffer.from("ffffffff0000000100060000", "hex"));
        await settle();
      },
    ],
    [
      "meta that is no JSON",
      async (house) => {
        house.far.write(Buffer.from("0000000a0000000100c800027b61", "hex"));
        await settle();
      },
    ],
    ["CREDIT of the wrong size", (house) => house.send(1, FrameType.CREDIT, {}, Buffer.alloc(3))],
  ];
  for (const [what, attack] of hostile) {
    test(`hostile: ${what} kills the replica and answers 502`, async () => {
      const house = await buildReady();
      const { outcome } = house.call();
      await attack(house);
      assert.equal(outcome.error?.code, "FUNCTION_CRASHED");
      assert.equal(house.killed(), 1);
      assert.equal(house.replica.accepting, false);
    });
  }

  test("hostile: a response before READY kills it, and the call may go elsewhere", async () => {
    const house = buildReplica();
    const { outcome } = house.call();
    house.specialise();
    await house.send(1, 200, OK, Buffer.from("1"));
    assert.equal(outcome.notStarted?.code, "FUNCTION_CRASHED");
    assert.equal(house.killed(), 1);
  });

  test("hostile: forged LOG is taken as text alone", async () => {
    const house = await buildReady();
    await house.send(
      4_000_000,
      FrameType.LOG,
      { stream: { a: 1 }, requestId: 7, timeMs: 1e300, truncated: "x" },
      Buffer.from([0xff, 0x41]),
    );
    assert.deepEqual(house.printed, ["�A"]);
    assert.equal(house.killed(), 0);
  });

  test("any frames whatever: every call ends at most once and nothing throws", async () => {
    const frame = fc.record({
      stream: fc.integer({ min: 0, max: 4 }),
      kind: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.constantFrom(200, 404, 599)),
      more: fc.boolean(),
      meta: fc.constantFrom(
        {},
        OK,
        { kind: "text" },
        { code: "FUNCTION_ERROR", message: "m" },
        { reason: "r", message: "m" },
        { protocol: 1 },
      ),
      body: fc.constantFrom(NOTHING, Buffer.alloc(4), Buffer.from("body")),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 12 }), async (frames) => {
        const house = await buildReady();
        const calls = [house.call(), house.call(), house.call()];
        for (const { stream, kind, more, meta, body } of frames) await house.send(stream, kind, meta, body, more);
        for (const { outcome } of calls) assert.ok(outcome.ends <= 1);
        house.replica.kill();
        for (const { outcome } of calls) assert.equal(outcome.ends, 1);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
