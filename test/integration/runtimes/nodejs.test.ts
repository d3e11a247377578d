import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { callJson, describeNodejs, MIB, type Options, ready } from "./nodejs.ts";
import { buildCallMeta } from "./support.ts";

describeNodejs("handlers and answers", testHandlers, testAnswers);

function testHandlers(language: ShimLanguage): void {
  const esm = { module: "esm" } as const;
  const handlers: { name: string; code: string; options?: Options; expected: unknown }[] = [
    { name: "module.exports", code: "module.exports = { handler: () => [1] };", expected: [1] },
    {
      name: "a method that uses its object",
      code: "module.exports = new (class { n = 1; handler() { return [this.n]; } })();",
      expected: [1],
    },
    { name: "a dotted handler", code: "exports.a = { b: () => [1] };", options: { handler: "index.a.b" }, expected: [1] },
    {
      name: "a function as module.exports, called default",
      code: "module.exports = () => [1];",
      options: { handler: "index.default" },
      expected: [1],
    },
    { name: "a default export of CommonJS", code: "exports.default = { handler: () => [1] };", expected: [1] },
    { name: "an export", code: "export async function handler() { return [1]; }", options: esm, expected: [1] },
    { name: "a default export that holds the handler", code: "export default { handler: () => [1] };", options: esm, expected: [1] },
    {
      name: "a default export that is the handler",
      code: "export default () => [1];",
      options: { ...esm, handler: "index.default" },
      expected: [1],
    },
    {
      name: "top-level await",
      code: "const n = await Promise.resolve(1);\nexport const handler = () => [n];",
      options: esm,
      expected: [1],
    },
    {
      name: "built-in modules, with and without node:",
      code: "import path from 'path';\nimport { sep } from 'node:path';\nexport const handler = async () => [path.sep === sep, (await import('node:os')).EOL, (await import('os')).EOL];",
      options: esm,
      expected: [true, "\n", "\n"],
    },
    {
      name: "import.meta and createRequire",
      code: "import { createRequire } from 'node:module';\nimport { fileURLToPath } from 'node:url';\nconst require = createRequire(import.meta.url);\nexport const handler = () => [import.meta.url, fileURLToPath(import.meta.url), require('os').EOL];",
      options: esm,
      expected: ["file:///function/index.mjs", "/function/index.mjs", "\n"],
    },
    {
      name: "what CommonJS knows",
      code: "exports.handler = async () => [__filename, __dirname, require.resolve('fs'), require('node:os').EOL, (await import('os')).EOL, typeof module.id, this === exports, require.main === module];",
      expected: ["/function/index.js", "/function", "fs", "\n", "\n", "string", true, false],
    },
    { name: "a #! line and a byte order mark", code: "\ufeff#!/usr/bin/env node\nexports.handler = () => [1];", expected: [1] },
    { name: "a thenable", code: "exports.handler = () => ({ then: (resolve) => resolve([1]) });", expected: [1] },
    { name: "a callback", code: "exports.handler = (event, context, callback) => { setTimeout(callback, 1, null, [1]); };", expected: [1] },
    { name: "a callback called at once", code: "exports.handler = (event, context, callback) => callback(null, [1]);", expected: [1] },
    {
      name: "the first of callback and promise: the promise",
      code: "exports.handler = async (event, context, callback) => { setTimeout(callback, 5, null, ['callback']); return ['promise']; };",
      expected: ["promise"],
    },
    {
      name: "the first of callback and promise: the callback",
      code: "exports.handler = async (event, context, callback) => { callback(null, ['callback']); throw new Error('late'); };",
      expected: ["callback"],
    },
    {
      name: "the first of two callbacks",
      code: "exports.handler = (event, context, callback) => { callback(null, ['first']); callback(new Error('second')); };",
      expected: ["first"],
    },
    {
      name: "the context's methods without their object",
      code: "exports.handler = (event, { getRemainingTimeInMillis, deadline }) => [getRemainingTimeInMillis() > 29000, deadline - Date.now() > 29000];",
      expected: [true, true],
    },
    {
      name: "rawBody as no part of what JSON shows",
      code: "exports.handler = (event) => [JSON.stringify(event).includes('rawBody'), event.rawBody === event.rawBody, event.rawBody.toString()];",
      expected: [false, true, "{}"],
    },
  ];
  for (const { name, code, options, expected } of handlers) {
    test(`runs ${name}`, async (t) => {
      const shim = await ready(t, language, code, options);
      assert.deepEqual(await callJson(shim), expected);
      assert.deepEqual(await callJson(shim), expected);
    });
  }

  test("takes the callback's error", async (t) => {
    const shim = await ready(
      t,
      language,
      "exports.handler = (event, context, callback) => callback(event.body ? new TypeError('no') : 'text');",
    );
    const first = await shim.call("true");
    assert.equal(first.error?.["message"], "no");
    assert.equal(first.error?.["type"], "TypeError");
    assert.equal((await shim.call("false")).error?.["message"], "text");
  });

  test("shows a stack without the shim's own frames", async (t) => {
    const shim = await ready(t, language, "exports.handler = async () => {\n  throw new Error('boom');\n};\n");
    const { error } = await shim.call("{}");
    assert.match(String(error?.["stack"]), /^Error: boom\n {4}at .*\/function\/index\.js:2:9/);
    assert(!String(error?.["stack"]).includes("runtimes/nodejs"));
  });

  test("survives whatever is thrown", async (t) => {
    const code = `const things = [
      () => Object.create(null), () => Symbol('s'), () => null, () => 7n, () => [],
      () => ({ get message() { throw new Error('trap'); } }),
      () => new Proxy({}, { get() { throw new Error('trap'); } }),
      () => Object.assign(new Error('x'), { name: 7, stack: {} }),
    ];
    exports.handler = async (event) => { throw things[event.body](); };`;
    const shim = await ready(t, language, code);
    for (let i = 0; i < 8; i += 1) {
      const { error } = await shim.call(String(i));
      assert.equal(error?.["code"], "FUNCTION_ERROR");
      assert.equal(typeof error?.["type"], "string");
      assert.equal(typeof error?.["message"], "string");
    }
  });

  test("collects a body in pieces, with credit", async (t) => {
    const shim = await ready(t, language, "exports.handler = async (event) => [event.body.length, event.rawBody.length];");
    const text = JSON.stringify("é".repeat(MIB));
    assert.deepEqual(JSON.parse((await shim.call(text)).body.toString()), [MIB, 2 * MIB + 2]);
    const credit = shim.frames.filter(({ kind }) => kind === FrameType.CREDIT).reduce((sum, { body }) => sum + body.readUInt32BE(0), 0);
    assert(credit >= 2 * MIB - 262_144, `credit for ${credit} bytes`);
  });
}

function testAnswers(language: ShimLanguage): void {
  test("waits for credit within a large body, and goes on with each call meanwhile", async (t) => {
    const shim = await ready(t, language, `exports.handler = async (event) => event.body.big ? 'x'.repeat(${MIB}) : 'small';`);
    const big = shim.sendCall('{"big":true}');
    assert.equal((await shim.call("{}")).body.toString(), "small");
    await shim.until("all that credit allows", () => shim.dataBytes(big) === 262_144);
    shim.credit(big, 100);
    await shim.until("a hundred more", () => shim.dataBytes(big) === 262_244);
    shim.credit(big, MIB);
    assert.equal((await shim.answer(big)).body.length, MIB);
  });

  test("ends a large body whose caller is gone", async (t) => {
    const shim = await ready(t, language, `exports.handler = async () => 'x'.repeat(${MIB});`, { concurrency: 1 });
    const stream = shim.sendCall("{}");
    await shim.until("all that credit allows", () => shim.dataBytes(stream) === 262_144);
    shim.send(FrameType.CANCEL, stream);
    assert.equal(typeof (await shim.answer(stream)).abort?.["message"], "string");
    assert.equal((await shim.call("{}")).head?.kind, 200);
  });

  test("says that a promise within a response was not awaited", async (t) => {
    const shim = await ready(t, language, "exports.handler = () => ({ statusCode: 200, body: { later: Promise.resolve(1) } });");
    assert.match(String((await shim.call("{}")).error?.["message"]), /Promise.*await/);
  });

  test("sends the headers of a Headers and of a Map", async (t) => {
    const shim = await ready(
      t,
      language,
      "exports.handler = (event) => ({ statusCode: 200, headers: event.body.map ? new Map([['b', 1]]) : new Headers({ a: 'x' }) });",
    );
    assert.deepEqual((await shim.call("{}")).head?.meta["headers"], ["a", "x"]);
    assert.deepEqual((await shim.call('{"map":true}')).head?.meta["headers"], ["b", "1"]);
  });

  test("tells that headers are too long", async (t) => {
    const shim = await ready(t, language, "exports.handler = async () => ({ statusCode: 200, headers: { a: 'x'.repeat(70000) } });");
    assert.match(String((await shim.call("{}")).error?.["message"]), /headers/);
  });

  test("answers many calls in one write, each its own", async (t) => {
    const shim = await ready(t, language, "exports.handler = async (event) => { await null; return [event.body, event.requestId]; };", {
      concurrency: 1000,
    });
    const streams = Array.from({ length: 500 }, (_, index) => shim.sendCall(String(index)));
    for (const [index, stream] of streams.entries()) {
      assert.deepEqual(JSON.parse((await shim.answer(stream)).body.toString()), [index, `request-${stream}`]);
    }
  });

  test("aborts the signal of a call whose caller is gone", async (t) => {
    const code = `exports.handler = (event, context) => new Promise((resolve) => {
      context.signal.addEventListener('abort', () => resolve(['aborted', context.signal.aborted]));
      console.log('waiting');
    });`;
    const shim = await ready(t, language, code);
    const stream = shim.sendCall("{}");
    await shim.until("the handler to wait", () => shim.logLines().length > 0);
    shim.send(FrameType.CANCEL, stream);
    assert.deepEqual(JSON.parse((await shim.answer(stream)).body.toString()), ["aborted", true]);
  });

  test("ends a call whose body never comes whole", async (t) => {
    const shim = await ready(t, language, "exports.handler = async () => 1;", { concurrency: 1 });
    shim.send(FrameType.CALL, 1, buildCallMeta(1, {}), "[1,", true);
    shim.send(FrameType.CANCEL, 1);
    assert.equal((await shim.answer(1)).error?.["code"], "INVALID_REQUEST");
    shim.send(FrameType.DATA, 1, undefined, "2]");
    shim.send(FrameType.CALL, 2, buildCallMeta(2, {}), "{}");
    assert.equal((await shim.answer(2)).body.toString(), "1");
  });
}
