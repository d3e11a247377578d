import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { callJson, describeNodejs, ready } from "./nodejs.ts";

describeNodejs("logs", testLogs);

function testLogs(language: ShimLanguage): void {
  test("knows whose line it is, across timers and promises", async (t) => {
    const code = `const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    console.log('loading');
    exports.handler = async (event, context) => {
      console.log('begin', event.body.n);
      await later(2);
      console.error('then', event.body.n);
      await Promise.all([later(1), later(2)]);
      context.log('end', event.body.n);
      return 1;
    };`;
    const shim = await ready(t, language, code);
    const streams = [1, 2, 3].map((n) => shim.sendCall(`{"n":${n}}`));
    for (const stream of streams) await shim.answer(stream);
    const lines = shim.logLines();
    assert.deepEqual(lines[0], { stream: "stdout", requestId: undefined, truncated: undefined, text: "loading" });
    for (const n of [1, 2, 3]) {
      const own = lines.filter(({ requestId }) => requestId === `request-${n}`);
      assert.deepEqual(
        own.map(({ stream, text }) => [stream, text]),
        [
          ["stdout", `begin ${n}`],
          ["stderr", `then ${n}`],
          ["stdout", `end ${n}`],
        ],
      );
    }
  });

  test("puts what is printed in a turn in one frame, before the answer", async (t) => {
    const shim = await ready(
      t,
      language,
      "exports.handler = () => { for (let i = 0; i < 20; i += 1) console.log(i); process.stdout.write('open'); return 1; };",
    );
    const stream = shim.sendCall("{}");
    await shim.answer(stream);
    const frames = shim.frames.filter((frame) => frame.stream === stream);
    assert.deepEqual(
      frames.map(({ kind }) => kind),
      [FrameType.LOG, 200],
    );
    assert.equal(frames[0]?.body.toString(), [...Array.from({ length: 20 }, (_, i) => i), "open"].join("\n"));
  });

  test("joins the pieces of a line, and keeps empty ones", async (t) => {
    const code =
      "exports.handler = async () => { process.stdout.write('a'); await null; process.stdout.write('b\\n\\nc\\nd'); process.stderr.write('e\\n'); return 1; };";
    const shim = await ready(t, language, code);
    await shim.call("{}");
    assert.deepEqual(
      shim.logLines().map(({ stream, text }) => [stream, text]),
      [
        ["stdout", "ab"],
        ["stdout", ""],
        ["stdout", "c"],
        ["stderr", "e"],
        ["stdout", "d"],
      ],
    );
  });

  test("cuts a line of 10 MB, whole or in pieces, and goes on with the next", async (t) => {
    const code = `exports.handler = (event) => {
      if (event.body.whole) console.log('é'.repeat(5e6));
      else { for (let i = 0; i < 100; i += 1) process.stdout.write('é'.repeat(5e4)); process.stdout.write('\\n'); }
      console.log('next');
      return 1;
    };`;
    const shim = await ready(t, language, code);
    for (const body of ['{"whole":true}', "{}"]) {
      await shim.call(body);
      const [long, next] = shim.logLines().slice(-2);
      assert.equal(Buffer.byteLength(long?.text ?? ""), 65_536);
      assert.equal(long?.truncated, true);
      assert.match(long?.text ?? "", /^é+$/);
      assert.equal(next?.text, "next");
      assert.equal(next?.truncated, undefined);
    }
  });

  test("shows bytes that are no UTF-8 as replacement characters", async (t) => {
    const shim = await ready(
      t,
      language,
      "exports.handler = () => { process.stdout.write(Buffer.from([0x61, 0xff, 0x0a])); process.stdout.write('62', 'hex'); return 1; };",
    );
    await shim.call("{}");
    assert.deepEqual(
      shim.logLines().map(({ text }) => text),
      ["a\ufffd", "b"],
    );
  });

  test("drops lines while nobody reads, counts them, and never blocks the handler", async (t) => {
    const code = `exports.handler = () => {
      const line = 'x'.repeat(999);
      for (let i = 0; i < 50000; i += 1) console.log(line);
      return 'done';
    };`;
    const shim = await ready(t, language, code);
    shim.pause();
    const stream = shim.sendCall("{}");
    await new Promise((resolve) => setTimeout(resolve, 300));
    shim.resume();
    assert.equal((await shim.answer(stream)).body.toString(), "done");
    await shim.until("word of what was dropped", () => shim.logLines().some(({ text }) => text.startsWith("dropped: ")));
    const lines = shim.logLines();
    const dropped = lines.filter(({ text }) => text.startsWith("dropped: ")).reduce((sum, { text }) => sum + Number(text.slice(9)), 0);
    const seen = lines.filter(({ text }) => text.startsWith("x")).length;
    assert(dropped > 10_000, `${dropped} dropped`);
    assert.equal(seen + dropped, 50_000);
  });

  test("goes on when the function closes or ends its standard streams", async (t) => {
    const code = `const fs = require('node:fs');
    exports.handler = async () => {
      fs.closeSync(1); fs.closeSync(2);
      process.stdout.end('last\\n'); process.stderr.destroy();
      await new Promise((resolve) => setImmediate(resolve));
      console.log('still'); console.error('here');
      return [process.stdout.fd, process.stderr.fd, process.stdout.isTTY ?? false];
    };`;
    const shim = await ready(t, language, code);
    assert.deepEqual(await callJson(shim), [1, 2, false]);
    assert.deepEqual(
      shim.logLines().map(({ text }) => text),
      ["last", "still", "here"],
    );
  });

  test("takes pipes and callbacks as any stream does", async (t) => {
    const code = `const { Readable } = require('node:stream');
    const { pipeline } = require('node:stream/promises');
    exports.handler = async () => {
      await new Promise((resolve) => process.stdout.write('one\\n', resolve));
      await new Promise((resolve) => { Readable.from(['two\\n']).on('end', resolve).pipe(process.stdout); });
      await pipeline(Readable.from(['three\\n']), process.stderr);
      console.table([[1]]); console.group('g'); console.log('in'); console.groupEnd();
      return 1;
    };`;
    const shim = await ready(t, language, code);
    assert.equal(await callJson(shim), 1);
    const texts = shim.logLines().map(({ text }) => text);
    assert.deepEqual(texts.slice(0, 3), ["one", "two", "three"]);
    assert.deepEqual(texts.slice(-2), ["g", "  in"]);
  });
}
