import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { PodLink } from "../../../packages/server/src/instances/kubernetes/pod-link.ts";
import { encodeFrame, FrameDecoder, FrameType, parseMeta } from "../../../packages/server/src/protocol/frames.ts";
import { createSigningKey, ProofSigner } from "../../../packages/server/src/protocol/proof.ts";
import { podSigner, ShimPod } from "../../support/pods.ts";
import { waitFor } from "../../support/server.ts";
import { adopt, call, dial, dialGeneric, revisionOf, specialise, startPod } from "./gateway.ts";
import { GO_PODS, GO_PRINTS } from "./go-pod.ts";
import { POD_LANGUAGES } from "./pod-languages.ts";

const stranger = new ProofSigner(await createSigningKey());

for (const language of [...POD_LANGUAGES, ...GO_PODS]) {
  describe(`${language.name} in a pod`, { skip: language.missing ?? false, concurrency: 2 }, () => {
    test("says who it is, takes tokens of several gateways, and belongs to the first that specialises it", async (t) => {
      const pod = await startPod(t, language);
      const [first, second, third] = [await dialGeneric(t, pod), await dialGeneric(t, pod), await dialGeneric(t, pod)];
      assert.equal(first.hello.state, "generic");
      assert.equal(first.hello.inFlight, 0);
      assert.equal(await second.claim(5000), true);
      assert.equal(await third.claim(5000), false, "a claim holds until it is used or over");
      const { replica, printed } = specialise(second, language, language.echo);
      const outcome = await call(replica, { x: 1 });
      assert.deepEqual(JSON.parse(outcome.body.toString()), { a: { x: 1 }, who: "me" });
      await waitFor("the others to be told", () => first.closed && third.closed);
      assert.equal(first.taken, true);
      await waitFor("what it printed", () => printed.length > 0);
      assert.match(printed[0]!.body.toString(), /^printed request-/);
      const line = await waitFor("its own output", () => pod.output.split("\n").find((text) => text.includes("printed")));
      const { time, ...said } = JSON.parse(line) as Record<string, unknown>;
      assert.match(String(time), /^\d{4}-.*Z$/);
      const requestId = printed[0]!.requestId;
      assert.deepEqual(said, { stream: "stdout", function: "hello", revision: 3, requestId, message: `printed ${requestId}` });
    });

    test("serves a second gateway once it is specialised, within one concurrency, and outlives the first", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      assert.equal(await link.claim(5000), true);
      const { replica: old } = specialise(link, language, language.slow, revisionOf(language, 2));
      await old.ready;
      const slow = call(old, 1500);
      const later = await dial(t, pod);
      await waitFor("a HELLO that counts the call", async () => (await dial(t, pod)).hello.inFlight === 1);
      assert.equal(later.hello.state, "specialised");
      assert.equal(later.hello.functionUid, revisionOf(language).uid);
      assert.equal(later.hello.revision, 3);
      const { replica: heir } = adopt(later, language);
      const beside = call(heir, 1500);
      await waitFor("both to run", async () => (await dial(t, pod)).hello.inFlight === 2);
      assert.equal((await call(heir, 1)).notStarted?.code, "OVERLOADED");
      link.close();
      assert.equal((await beside).body.toString(), "slept");
      assert.equal((await call(heir, 1)).body.toString(), "slept");
      void slow.catch(() => undefined);
      assert.equal(pod.hasEnded, false);
    });

    test("gives nothing that has run user code a token, nor an answer to a claim", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      assert.equal(await link.claim(5000), true);
      await specialise(link, language, language.echo).replica.ready;
      const later = await dialGeneric(t, pod);
      assert.equal(await later.claim(5000), false);
    });

    test("refuses those who cannot prove to be a gateway, and a proof for another", async (t) => {
      const pod = await startPod(t, language);
      await assert.rejects(dial(t, pod, stranger), /closed the connection/);
      const forAnother = {
        sign: (claim: Parameters<ProofSigner["sign"]>[0]) => podSigner.sign({ ...claim, parties: [pod.uid, "10.0.0.1:7070"] }),
      };
      const dialling = PodLink.dial(
        { uid: pod.uid, ip: pod.ip, port: pod.port },
        { clock: systemClock, signer: forAnother, timeoutMs: 5000 },
      );
      await assert.rejects(dialling, /closed the connection/);
      await assert.rejects(dial(t, { uid: "another", ip: pod.ip, port: pod.port }), /it says that it is/);
      assert.equal((await dial(t, pod)).hello.state, "generic");
    });

    test("uses a nonce once, and gives each connection another", async (t) => {
      const pod = await startPod(t, language);
      const nonces = new Set<string>();
      for (let i = 0; i < 3; i++) {
        const socket = pod.connect();
        const [chunk] = (await once(socket, "data")) as [Buffer];
        new FrameDecoder((_stream, kind, _more, meta, body) => {
          assert.equal(kind, FrameType.CHALLENGE);
          assert.deepEqual(parseMeta(meta), { protocol: 1, uid: pod.uid });
          nonces.add(body.toString("hex"));
        }).push(chunk);
        // A second proof on the same connection finds no nonce any more.
        const wrong = encodeFrame(0, FrameType.PROOF, false, "", Buffer.alloc(256));
        socket.write(Buffer.concat([wrong, wrong]));
        await new Promise((resolve) => socket.once("close", resolve));
      }
      assert.equal(nonces.size, 3);
    });

    test("is not harmed by garbage, silence, and more peers than it takes", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      const silent = Array.from({ length: 40 }, () => pod.connect().resume());
      t.after(() => silent.forEach((socket) => socket.destroy()));
      for (const bytes of [
        Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        Buffer.alloc(70_000, 255),
        encodeFrame(0, FrameType.SPECIALISE, false, "{}", Buffer.alloc(2_000_000)),
        encodeFrame(0, FrameType.CLAIM, false, "", Buffer.alloc(32)),
        encodeFrame(1, FrameType.CALL, false, "{}", Buffer.alloc(0)),
        encodeFrame(0, FrameType.PROOF, false, "not json", Buffer.alloc(256)),
      ]) {
        const socket = pod.connect();
        socket.on("data", () => undefined);
        socket.write(bytes);
        await new Promise((resolve) => socket.once("close", resolve));
      }
      await waitFor(
        "the oldest silent ones to make room",
        () => silent.filter((socket) => socket.destroyed || socket.readableEnded).length >= 20,
      );
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.echo);
      assert.equal((await call(replica, 1)).head?.status, 200);
    });

    test("a proven gateway that breaks the rules is sent away alone", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      for (const bytes of [
        encodeFrame(0, FrameType.SPECIALISE, false, "{}", Buffer.alloc(4)),
        encodeFrame(1, FrameType.CALL, false, "{}", Buffer.alloc(0)),
        encodeFrame(0, FrameType.TOKEN, false, "", Buffer.alloc(31)),
        encodeFrame(0, FrameType.CLAIM, false, "", Buffer.alloc(32)),
        Buffer.alloc(64, 255),
      ]) {
        const rude = await dial(t, pod);
        rude.socket.write(bytes);
        await waitFor("it to be sent away", () => rude.closed);
      }
      assert.equal(await link.claim(5000), true);
    });

    test("a claim that nothing follows ends, and another gateway has its turn", async (t) => {
      const pod = await startPod(t, language);
      const [first, second] = [await dialGeneric(t, pod), await dialGeneric(t, pod)];
      assert.equal(await first.claim(5000), true);
      await waitFor("the claim to end", () => first.closed);
      assert.equal(await second.claim(5000), true);
    });

    test("answers PING with what it holds", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      link.ping();
      await waitFor("PONG", () => link.pongAtMs > 0);
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.echo);
      await replica.ready;
      replica.ping();
      await waitFor("PONG of the function", () => replica.pongAtMs > 0);
    });

    test("leaves at once on SIGTERM while it is generic or idle", async (t) => {
      const generic = await startPod(t, language);
      await dialGeneric(t, generic);
      generic.terminate();
      assert.deepEqual(await generic.exited, { code: 0, signal: null });
      const idle = await startPod(t, language);
      const link = await dialGeneric(t, idle);
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.echo);
      await replica.ready;
      idle.terminate();
      assert.deepEqual(await idle.exited, { code: 0, signal: null });
      assert.equal(replica.accepting, false);
    });

    test("ends what runs on SIGTERM, gives back what comes behind it, and loses no call", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.slow);
      await replica.ready;
      const running = call(replica, 600);
      await waitFor("the call to run", async () => (await dial(t, pod)).hello.inFlight === 1);
      pod.terminate();
      // Sent before this gateway has heard of it.
      const crossing = call(replica, 1);
      assert.equal((await running).body.toString(), "slept");
      const { body, notStarted } = await crossing;
      assert.ok(body.toString() === "slept" || notStarted !== undefined);
      assert.deepEqual(await pod.exited, { code: 0, signal: null });
    });

    test("ends by DRAIN when its calls have ended", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.slow);
      await replica.ready;
      const running = call(replica, 300);
      await waitFor("the call to run", async () => (await dial(t, pod)).hello.inFlight === 1);
      replica.drain(10_000);
      assert.equal((await running).body.toString(), "slept");
      assert.deepEqual(await pod.exited, { code: 0, signal: null });
    });

    test("says why code does not load, and ends", async (t) => {
      const pod = await startPod(t, language);
      const link = await dialGeneric(t, pod);
      assert.equal(await link.claim(5000), true);
      const { replica } = specialise(link, language, language.broken);
      await assert.rejects(replica.ready, { code: "FUNCTION_FAILED" });
      assert.equal((await pod.exited).code, 1);
    });

    test("does not serve where an earlier function may have left something", async (t) => {
      const pod = new ShimPod({ command: language.command, environment: language.environment, usedBefore: true });
      t.after(() => pod.kill());
      assert.deepEqual(await pod.exited, { code: 78, signal: null });
      assert.match(pod.output, /is not empty/);
    });
  });
}

for (const language of GO_PODS) {
  test(`${language.name} in a pod sends on what is printed by other means than the context`, {
    skip: language.missing ?? false,
  }, async (t) => {
    const pod = await startPod(t, language);
    const link = await dialGeneric(t, pod);
    assert.equal(await link.claim(5000), true);
    const { replica, printed } = specialise(link, language, GO_PRINTS);
    assert.equal((await call(replica, 1)).head?.status, 200);
    const lines = await waitFor("all lines", () => {
      const said = printed.flatMap(({ stream, body }) =>
        body
          .toString()
          .split("\n")
          .map((line) => `${stream}: ${line}`),
      );
      return said.length === 3 ? said.sort() : undefined;
    });
    assert.match(lines.join("\n"), /^stderr: .* by log\nstderr: by stderr\nstdout: by fmt$/);
    await waitFor("its own output", () => pod.output.split("\n").filter((line) => line.includes('"function":"hello"')).length === 3);
  });
}
