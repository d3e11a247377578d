import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import fc from "fast-check";
import { encodeFrame, FrameDecoder, parseMeta } from "../protocol/frames.ts";
import { createSigningKey } from "../protocol/proof.ts";
import { PeerChannel } from "./channel.ts";
import { hostOf, type PeerIdentity, portOf, proveAsDialler, proveAsListener } from "./handshake.ts";
import { freeAddresses, keysOf, TestGateway, waitUntil } from "./testing/test-gateway.ts";
import { encodeCall, PeerFrame } from "./wire.ts";

const [goodKey, otherKey] = [await createSigningKey(), await createSigningKey()];
const EMPTY = Buffer.alloc(0);
const gateways: TestGateway[] = [];

after(async () => {
  await Promise.all(gateways.map(({ peers }) => peers.stop()));
});

async function startGateway(key = goodKey, candidates: PeerIdentity[] = []): Promise<TestGateway> {
  const [address] = await freeAddresses(1);
  const gateway = new TestGateway({ id: "real", address: address! }, keysOf(key));
  gateways.push(gateway);
  await gateway.start(candidates);
  return gateway;
}

/** A bare connection to a gateway, and all that comes over it. */
async function dial({ self }: TestGateway): Promise<{ socket: Socket; frames: { kind: number; meta: string }[]; ended: () => boolean }> {
  const socket = connect({ host: hostOf(self.address), port: portOf(self.address), localAddress: "127.0.0.9" });
  const frames: { kind: number; meta: string }[] = [];
  let isEnded = false;
  const decoder = new FrameDecoder((_stream, kind, _more, meta) => frames.push({ kind, meta: meta.toString() }));
  socket.on("data", (chunk: Buffer) => decoder.push(chunk));
  socket.on("error", () => undefined);
  socket.on("close", () => (isEnded = true));
  await once(socket, "connect");
  return { socket, frames, ended: () => isEnded };
}

const FORGER: PeerIdentity = { id: "forger", address: "127.0.0.9:1" };
const hello = (identity: PeerIdentity, proof: Buffer = EMPTY): Buffer =>
  encodeFrame(0, PeerFrame.HELLO, false, JSON.stringify({ protocol: 1, ...identity, nonce: Buffer.alloc(32).toString("base64") }), proof);

describe("who dials without the signing key", () => {
  test("gets a name and a nonce, whatever it says, and is not among the gateways", async () => {
    const gateway = await startGateway();
    const call = encodeCall("f", true, {
      id: "1",
      method: "GET",
      path: "/who",
      query: {},
      headers: {},
      trigger: { type: "http" },
      timeoutMs: 1,
    });
    const ping = JSON.stringify({ state: "ready", extra: {} });
    const attempts: Buffer[][] = [
      [encodeFrame(1, PeerFrame.CALL, false, call, EMPTY)],
      [encodeFrame(0, PeerFrame.PING, false, ping, EMPTY)],
      [encodeFrame(1, PeerFrame.CALL, false, JSON.stringify({ request: "nothing" }), Buffer.from("null"))],
      [hello(FORGER), encodeFrame(1, PeerFrame.CALL, false, call, EMPTY)],
      [hello(FORGER, Buffer.alloc(256, 7)), encodeFrame(0, PeerFrame.PING, false, ping, EMPTY)],
    ];
    for (const frames of attempts) {
      const { socket, frames: received, ended } = await dial(gateway);
      for (const frame of frames) socket.write(frame);
      await waitUntil(ended);
      assert.deepEqual(
        received.map(({ kind }) => kind),
        [PeerFrame.HELLO],
      );
    }
    assert.deepEqual(gateway.peers.view.members, ["real"]);
    assert.deepEqual(gateway.provider.trace.begun, []);
    assert.ok(gateway.logged.includes("a connection to the gateways' port was refused"));
  });

  test("is sent away with another key, another place, another's name, or a proof for another nonce", async () => {
    const gateway = await startGateway();
    const attempt = async (identity: PeerIdentity, key: string, listener = gateway.self): Promise<void> => {
      const { socket } = await dial(gateway);
      await proveAsDialler(new PeerChannel(socket), identity, listener, keysOf(key));
    };
    await attempt(FORGER, goodKey);
    await assert.rejects(attempt(FORGER, otherKey));
    await assert.rejects(attempt({ id: "forger", address: "127.0.0.8:1" }, goodKey), "not where it says");
    await assert.rejects(attempt({ id: "real", address: "127.0.0.9:1" }, goodKey), "the gateway's own name");
    await assert.rejects(attempt(FORGER, goodKey, { id: "another", address: gateway.self.address }), "meant for another gateway");
  });

  test("cannot pass a gateway's proof on to another one", async () => {
    const target = await startGateway();
    // The man in the middle is dialled as itself, and uses what it gets for a connection of its own.
    const victim: PeerIdentity = { id: "victim", address: "127.0.0.9:1" };
    const [address] = await freeAddresses(1);
    const middle: PeerIdentity = { id: "middle", address: address! };
    const { socket, frames, ended } = await dial(target);
    await waitUntil(() => frames.length === 1);
    const { nonce } = parseMeta(Buffer.from(frames[0]!.meta));
    const server = createServer((accepted) => {
      accepted.on("error", () => undefined);
      accepted.write(encodeFrame(0, PeerFrame.HELLO, false, JSON.stringify({ protocol: 1, ...middle, nonce }), EMPTY));
      accepted.on("data", (chunk: Buffer) => socket.write(chunk));
    });
    server.listen(portOf(middle.address), hostOf(middle.address));
    await once(server, "listening");
    const dialled = connect({ host: hostOf(middle.address), port: portOf(middle.address), localAddress: "127.0.0.9" });
    await once(dialled, "connect");
    const channel = new PeerChannel(dialled);
    const proving = proveAsDialler(channel, victim, middle, keysOf(goodKey));
    proving.catch(() => undefined);
    await waitUntil(ended);
    assert.equal(frames.length, 1, "no proof came back");
    channel.close(new Error("over"));
    await assert.rejects(proving);
    server.close();
  });

  test("holds no place for ever, and does not keep real gateways out", async () => {
    const gateway = await startGateway();
    const silent = await Promise.all(Array.from({ length: 70 }, () => dial(gateway)));
    await waitUntil(() => silent.some(({ ended }) => ended()), 1000);
    await waitUntil(() => silent.every(({ ended }) => ended()));
    const { socket } = await dial(gateway);
    await proveAsDialler(new PeerChannel(socket), FORGER, gateway.self, keysOf(goodKey));
  });
});

test("a gateway tells nothing to whoever answers at another's address without the key", async () => {
  const [address] = await freeAddresses(1);
  const received: number[] = [];
  const server = createServer((socket) => {
    const channel = new PeerChannel(socket);
    proveAsListener(channel, { id: "forged", address: address! }, keysOf(otherKey)).catch(() => undefined);
    socket.on("data", (chunk: Buffer) => new FrameDecoder((_stream, kind) => received.push(kind)).push(chunk));
  });
  server.listen(portOf(address!), hostOf(address!));
  await once(server, "listening");
  const [own] = await freeAddresses(2).then((all) => all.slice(1));
  const gateway = new TestGateway({ id: "real", address: own! }, keysOf(goodKey));
  gateways.push(gateway);
  await gateway.start([{ id: "forged", address: address! }]);
  assert.deepEqual(gateway.peers.view.members, ["real"]);
  assert.deepEqual(gateway.peers.connected, []);
  assert.ok(received.length > 0 && received.every((kind) => kind === PeerFrame.HELLO), `it got ${received.join()}`);
  server.close();
});

test("whatever a proven gateway sends, the other one lives, and a broken rule ends that connection alone", async () => {
  const gateway = await startGateway();
  const kinds = fc.oneof(fc.constantFrom(...Object.values(PeerFrame)), fc.integer({ min: 1, max: 99 }), fc.integer({ min: 200, max: 599 }));
  const meta = fc.oneof(
    fc.constantFrom(
      "",
      "{}",
      "[]",
      "{",
      '{"request":"nothing"}',
      '{"uid":1}',
      '{"state":"ready"}',
      '{"state":"no"}',
      '{"uid":"f","last":true,"id":"1"}',
    ),
    fc.json({ maxDepth: 2 }),
  );
  const frame = fc.record({
    stream: fc.integer({ min: 0, max: 4 }),
    kind: kinds,
    more: fc.boolean(),
    meta,
    body: fc.uint8Array({ maxLength: 40 }),
  });
  const bytes = fc.uint8Array({ maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 12 }), bytes, async (frames, rest) => {
      const { socket, ended } = await dial(gateway);
      await proveAsDialler(new PeerChannel(socket), FORGER, gateway.self, keysOf(goodKey));
      for (const each of frames) socket.write(encodeFrame(each.stream, each.kind, each.more, each.meta, Buffer.from(each.body)));
      socket.end(Buffer.from(rest));
      await waitUntil(ended);
    }),
    { seed: 31, numRuns: 150 },
  );
  const { call } = await gateway.call("f", "/who").result;
  assert.equal(call.status, 201);
  assert.ok(gateway.peers.view.members.includes("real"));
});

test("whatever a gateway that was dialled answers, the one that dialled lives and dials anew", async () => {
  const [own, other] = await freeAddresses(2);
  const kinds = fc.oneof(fc.constantFrom(...Object.values(PeerFrame)), fc.integer({ min: 1, max: 99 }), fc.integer({ min: 200, max: 599 }));
  const meta = fc.oneof(
    fc.constantFrom("", "{}", "[", '{"state":"ready"}', '{"kind":"json"}', '{"code":"TIMEOUT"}', '{"owner":3}'),
    fc.json({ maxDepth: 2 }),
  );
  const frame = fc.record({
    stream: fc.integer({ min: 0, max: 3 }),
    kind: kinds,
    more: fc.boolean(),
    meta,
    body: fc.uint8Array({ maxLength: 40 }),
  });
  const garbage = fc.sample(fc.array(frame, { minLength: 1, maxLength: 12 }), { seed: 41, numRuns: 30 });
  const identity: PeerIdentity = { id: "strange", address: other! };
  const connections = new Set<Socket>();
  let proven = 0;
  const server = createServer((socket) => {
    connections.add(socket);
    socket.on("error", () => undefined);
    proveAsListener(new PeerChannel(socket), identity, keysOf(goodKey)).then(
      () => {
        for (const each of garbage[proven++ % garbage.length]!) {
          socket.write(encodeFrame(each.stream, each.kind, each.more, each.meta, Buffer.from(each.body)));
        }
        socket.end();
      },
      () => undefined,
    );
  });
  server.listen(portOf(other!), hostOf(other!));
  await once(server, "listening");
  const gateway = new TestGateway({ id: "real", address: own! }, keysOf(goodKey));
  gateways.push(gateway);
  await gateway.start([identity]);
  const uid = Array.from({ length: 100 }, (_, i) => `f${i}`).find((each) => gateway.peers.ownerOf(each) !== "real") ?? "f0";
  const calls = Array.from({ length: 5 }, () => gateway.call(uid, "/who").result);
  await waitUntil(() => proven >= 8, 30_000);
  for (const socket of connections) socket.destroy();
  server.close();
  await waitUntil(() => gateway.peers.view.members.join() === "real");
  for (const { call, error } of await Promise.all(calls)) assert.ok(call.ended && (call.status !== undefined || error !== undefined));
  assert.equal((await gateway.call(uid, "/who").result).body.toString(), "real");
});
