import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GenericPods } from "../../../packages/server/src/instances/kubernetes/generic-pods.ts";
import type { PodView } from "../../../packages/server/src/instances/kubernetes/pod.ts";
import { PodLink } from "../../../packages/server/src/instances/kubernetes/pod-link.ts";
import { encodeFrame, FrameDecoder, FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { nextPodIp, podSigner } from "../../support/pods.ts";
import { waitFor } from "../../support/server.ts";

const NOTHING = Buffer.alloc(0);
const podClass = { runtime: "nodejs18", memoryMiB: 256, network: "outbound", isBuilder: false } as const;

/** User code that has taken the shim's place: it says whatever serves it. */
class HostilePod {
  readonly uid = randomUUID();
  readonly ip = nextPodIp();
  readonly port = 7070;
  readonly kinds: number[] = [];
  readonly sockets: Socket[] = [];
  readonly #server: Server;

  constructor(answer: (socket: Socket, kind: number, body: Buffer) => void) {
    this.#server = createServer((socket) => {
      this.sockets.push(socket);
      socket.on("error", () => undefined);
      const decoder = new FrameDecoder((_stream, kind, _more, _meta, body) => {
        this.kinds.push(kind);
        if (kind === FrameType.PROOF) this.hello(socket);
        answer(socket, kind, body);
      }, 1 << 20);
      socket.on("data", (chunk: Buffer) => decoder.push(chunk));
      socket.write(encodeFrame(0, FrameType.CHALLENGE, false, `{"protocol":1,"uid":"${this.uid}"}`, Buffer.alloc(32, 1)));
    });
  }

  hello(socket: Socket): void {
    socket.write(encodeFrame(0, FrameType.HELLO, false, '{"protocol":1,"language":"nodejs","state":"generic","inFlight":0}', NOTHING));
  }

  async listen(t: TestContext): Promise<this> {
    this.#server.listen(this.port, this.ip);
    await once(this.#server, "listening");
    t.after(() => {
      for (const socket of this.sockets) socket.destroy();
      this.#server.close();
    });
    return this;
  }

  view(): PodView {
    return {
      metadata: { name: "pod", uid: this.uid, resourceVersion: "1" },
      podClass,
      pool: "pool",
      functionUid: undefined,
      revision: undefined,
      controller: undefined,
      ip: this.ip,
      image: "image",
      isRunning: true,
      isLeaving: false,
      restarts: 0,
      end: undefined,
      obstacle: undefined,
    };
  }
}

function watchGeneric(t: TestContext): { generic: GenericPods; orphans: string[] } {
  const orphans: string[] = [];
  const generic = new GenericPods({
    clock: systemClock,
    dial: (address) => PodLink.dial(address, { clock: systemClock, signer: podSigner, timeoutMs: 2000 }),
    isOwn: () => false,
    preference: () => 0,
    onDialFailed: () => undefined,
    onOrphan: ({ metadata }) => orphans.push(metadata.uid),
  });
  t.after(() => generic.stop());
  return { generic, orphans };
}

describe("a pod that has run user code", () => {
  const forgeries = [
    {
      name: "answers a claim without the token",
      answer: (socket: Socket) => socket.write(encodeFrame(0, FrameType.ANSWER, false, "", Buffer.alloc(32))),
    },
    {
      name: "answers with the nonce",
      answer: (socket: Socket, body: Buffer) => socket.write(encodeFrame(0, FrameType.ANSWER, false, "", Buffer.from(body))),
    },
    { name: "answers with READY", answer: (socket: Socket) => socket.write(encodeFrame(0, FrameType.READY, false, "{}", NOTHING)) },
    { name: "answers with garbage", answer: (socket: Socket) => socket.write(Buffer.alloc(64, 255)) },
    { name: "does not answer", answer: () => undefined },
  ];
  for (const { name, answer } of forgeries) {
    test(`gets neither code nor calls when it ${name}`, async (t) => {
      const pod = await new HostilePod((socket, kind, body) => void (kind === FrameType.CLAIM && answer(socket, body))).listen(t);
      const link = await PodLink.dial(pod, { clock: systemClock, signer: podSigner, timeoutMs: 2000 });
      t.after(() => link.close());
      link.leaveToken();
      assert.equal(await link.claim(300), false);
      assert.deepEqual(pod.kinds, [FrameType.PROOF, FrameType.TOKEN, FrameType.CLAIM]);
    });
  }

  test("is not dialled again once its connection has ended, so that it never gets a new token", async (t) => {
    const pod = await new HostilePod(() => undefined).listen(t);
    const { generic } = watchGeneric(t);
    generic.update(pod.view());
    await waitFor("it to be ready for a claim", () => generic.peek(podClass) !== undefined);
    pod.sockets[0]!.destroy();
    await waitFor("it to be given up", () => generic.peek(podClass) === undefined);
    generic.update(pod.view());
    // As long as a pod that was dialled anew would need to be claimed.
    await new Promise((resolve) => systemClock.setTimer(1500, () => resolve(undefined)));
    assert.equal(pod.sockets.length, 1);
    assert.equal(generic.take(podClass), undefined);
  });

  test("is not used as soon as it was dialled: another gateway's claim may be on its way to the API server", async (t) => {
    const pod = await new HostilePod(() => undefined).listen(t);
    const { generic } = watchGeneric(t);
    generic.update(pod.view());
    await waitFor("the token", () => pod.kinds.includes(FrameType.TOKEN));
    assert.equal(generic.take(podClass), undefined);
    // The claim was written.
    generic.remove(pod.uid);
    assert.equal(generic.take(podClass), undefined);
  });
});

test("what a peer says that is no pod ends the dialling", async (t) => {
  for (const words of ["HTTP/1.1 200 OK\r\n\r\n", Buffer.alloc(100, 255), encodeFrame(0, FrameType.HELLO, false, "{}", NOTHING)]) {
    const server = createServer((socket) => socket.on("error", () => undefined).end(words));
    const ip = nextPodIp();
    server.listen(7070, ip);
    t.after(() => server.close());
    await once(server, "listening");
    const dialling = PodLink.dial({ uid: "x", ip, port: 7070 }, { clock: systemClock, signer: podSigner, timeoutMs: 2000 });
    await assert.rejects(dialling, /^Error: pod x at /);
  }
});
