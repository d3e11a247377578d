import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { describeNodejs, ready } from "./nodejs.ts";

describeNodejs("streams", testStreams);

function testStreams(language: ShimLanguage): void {
  const endless = `exports.handler = async function* () {
    try {
      for (;;) yield Buffer.alloc(100000);
    } finally {
      console.log('stopped');
    }
  };`;

  test("sends no more of a stream than its credit, and stops it when its caller is gone", async (t) => {
    const shim = await ready(t, language, endless, { concurrency: 1 });
    const stream = shim.sendCall("{}");
    await shim.until("all that credit allows", () => shim.dataBytes(stream) === 262_144);
    shim.credit(stream, 50_000);
    await shim.until("what the credit allows", () => shim.dataBytes(stream) === 312_144);
    shim.send(FrameType.CANCEL, stream);
    assert.equal(typeof (await shim.answer(stream)).abort?.["message"], "string");
    await shim.until("the generator to end", () => shim.logLines().some(({ text }) => text === "stopped"));
  });

  test("destroys a Readable whose caller is gone while it has nothing to say", async (t) => {
    const code = `const { Readable } = require('node:stream');
    exports.handler = async () => {
      const body = new Readable({ read() {}, destroy(error, callback) { console.log('destroyed'); callback(error); } });
      body.push('first');
      return { statusCode: 200, body };
    };`;
    const shim = await ready(t, language, code);
    const stream = shim.sendCall("{}");
    await shim.wait("the first piece", (frame) => frame.stream === stream && frame.kind === 200);
    shim.send(FrameType.CANCEL, stream);
    assert.equal(typeof (await shim.answer(stream)).abort?.["message"], "string");
    await shim.until("the stream to be destroyed", () => shim.logLines().some(({ text }) => text === "destroyed"));
  });

  test("sends each piece as it comes", async (t) => {
    const code = `let go;
    exports.handler = async (event) => {
      if (event.body.go) { go(); return 'ok'; }
      return (async function* () { yield 'a'; await new Promise((resolve) => { go = resolve; }); yield 'b'; })();
    };`;
    const shim = await ready(t, language, code);
    const stream = shim.sendCall("{}");
    const head = await shim.wait("the first piece", (frame) => frame.stream === stream && frame.kind === 200);
    assert.equal(head.body.toString(), "a");
    await shim.call('{"go":true}');
    assert.equal((await shim.answer(stream)).body.toString(), "ab");
  });

  test("takes web streams and old streams", async (t) => {
    const code = `const { EventEmitter } = require('node:events');
    exports.handler = async (event) => {
      if (event.body.web) return new ReadableStream({ start(c) { c.enqueue(new Uint8Array([104, 105])); c.close(); } });
      const old = new EventEmitter();
      old.pipe = () => {}; old.pause = () => {}; old.resume = () => {};
      setImmediate(() => { old.emit('data', Buffer.from('hi')); old.emit('end'); });
      return { statusCode: 200, body: old };
    };`;
    const shim = await ready(t, language, code);
    assert.equal((await shim.call('{"web":true}')).body.toString(), "hi");
    assert.equal((await shim.call("{}")).body.toString(), "hi");
  });

  test("cuts a stream of what is neither text nor bytes", async (t) => {
    const shim = await ready(t, language, "exports.handler = async function* () { yield 'a'; yield { b: 1 }; };");
    assert.match(String((await shim.call("{}")).abort?.["message"]), /strings or bytes/);
  });

  test("sends a stream without pieces as an empty body", async (t) => {
    const shim = await ready(t, language, "exports.handler = async function* () {};");
    const { head, body } = await shim.call("{}");
    assert.equal(head?.kind, 200);
    assert.equal(head?.more, false);
    assert.equal(body.length, 0);
  });
}
