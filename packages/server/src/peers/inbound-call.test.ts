import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, test } from "node:test";
import { createSigningKey } from "../protocol/proof.ts";
import { PeerChannel } from "./channel.ts";
import { hostOf, type PeerIdentity, portOf, proveAsDialler } from "./handshake.ts";
import { freeAddresses, keysOf, TestGateway, waitUntil } from "./testing/test-gateway.ts";
import { encodeCall, PeerFrame } from "./wire.ts";

const key = await createSigningKey();
const CALLER: PeerIdentity = { id: "caller", address: "127.0.0.9:1" };
let owner: TestGateway | undefined;

afterEach(() => owner?.peers.stop());

/** An owner with one place, and a gateway's connection to it on which the test speaks frame by frame. */
async function startOwner() {
  const [address] = await freeAddresses(1);
  const gateway = new TestGateway({ id: "owner", address: address! }, keysOf(key), { concurrency: 1 });
  owner = gateway;
  await gateway.start([]);
  const socket = connect({ host: hostOf(address!), port: portOf(address!), localAddress: "127.0.0.9" });
  await once(socket, "connect");
  const channel = new PeerChannel(socket);
  await proveAsDialler(channel, CALLER, gateway.self, keysOf(key));
  const frames: { stream: number; kind: number }[] = [];
  channel.handle(
    (stream, kind) => frames.push({ stream, kind }),
    () => undefined,
  );
  const call = (stream: number, path: string): void => {
    const head = { id: `call-${stream}`, method: "GET", path, query: {}, headers: {}, trigger: { type: "http" as const }, timeoutMs: 5000 };
    channel.send(stream, PeerFrame.CALL, false, encodeCall("f", true, head));
  };
  const came = (stream: number, kind: number): Promise<void> =>
    waitUntil(() => frames.some((each) => each.stream === stream && each.kind === kind));
  call(1, "/hold");
  await waitUntil(() => gateway.provider.trace.begun.length === 1);
  call(2, "/who");
  await came(2, PeerFrame.QUEUED);
  gateway.provider.trace.release[0]!();
  await came(1, 201);
  await came(2, PeerFrame.BEGIN);
  return { gateway, channel, came };
}

test("a call that has waited begins when its gateway still wants it to, not before", async () => {
  const { gateway, channel, came } = await startOwner();
  assert.deepEqual(gateway.provider.trace.begun, ["call-1"], "it began unasked");
  assert.equal(gateway.dispatcher("f").inFlight, 1, "its place is kept");
  channel.send(2, PeerFrame.GO, false, "");
  await came(2, 201);
  assert.deepEqual(gateway.provider.trace.begun, ["call-1", "call-2"]);
});

test("a call that its gateway has sent elsewhere meanwhile never begins, and leaves its place", async () => {
  const { gateway, channel } = await startOwner();
  channel.send(2, PeerFrame.CANCEL, false, "");
  await waitUntil(() => gateway.dispatcher("f").inFlight === 0);
  channel.send(2, PeerFrame.GO, false, "");
  const { status } = await gateway.call("f", "/who").result;
  assert.equal(status, 201);
  assert.ok(!gateway.provider.trace.begun.includes("call-2"));
});

test("a call whose gateway is lost while it is asked never begins", async () => {
  const { gateway, channel } = await startOwner();
  channel.close(new Error("lost"));
  await waitUntil(() => gateway.dispatcher("f").inFlight === 0);
  assert.deepEqual(gateway.provider.trace.begun, ["call-1"]);
});
