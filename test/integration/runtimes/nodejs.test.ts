import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { LANGUAGES, type ShimLanguage } from "./languages.ts";
import { buildCallMeta, buildSpecialiseBody, buildSpecialiseMeta, type Shim, type ShimFrame, type Specialisation } from "./support.ts";

type Options = Partial<Omit<Specialisation, "code">>;

const MIB = 1024 * 1024;

for (const language of LANGUAGES.filter((each) => each.language === "nodejs")) {
  describe(language.name, { skip: language.missing ?? false, concurrency: 2 }, () => {
    testLoading(language);
    testHandlers(language);
    testAnswers(language);
    testStreams(language);
    testLogs(language);
    testLife(language);
    testHostileCode(language);
  });
}

async function start(t: TestContext, language: ShimLanguage): Promise<Shim> {
  const shim = await language.start("");
  t.after(() => shim.stop());
  return shim;
}

async function load(
  t: TestContext,
  language: ShimLanguage,
  code: string,
  options: Options = {},
): Promise<{ shim: Shim; result: ShimFrame }> {
  const shim = await start(t, language);
  return { shim, result: await shim.specialise({ code, handler: "index.handler", module: "commonjs", ...options }) };
}

async function ready(t: TestContext, language: ShimLanguage, code: string, options: Options = {}): Promise<Shim> {
  const { shim, result } = await load(t, language, code, options);
  assert.equal(result.kind, FrameType.READY, JSON.stringify(result.meta));
  return shim;
}

async function callJson(shim: Shim, body: unknown = {}): Promise<unknown> {
  const answer = await shim.call(JSON.stringify(body));
  assert.equal(answer.head?.kind, 200, JSON.stringify(answer.error));
  return JSON.parse(answer.body.toString());
}

function testLoading(language: ShimLanguage): void {
  const failures: { name: string; code: string; options?: Options; reason: string; message: RegExp }[] = [
    {
      name: "a syntax error in CommonJS",
      code: "exports.handler = () => 1;\n\nconst x = };\n",
      reason: "SyntaxError",
      message: /^SyntaxError: Unexpected token '}' \(index\.js:3\)$/,
    },
    {
      name: "a syntax error in a file in a folder",
      code: "const x = ;",
      options: { handler: "api/orders.handler" },
      reason: "SyntaxError",
      message: /^SyntaxError: Unexpected token ';' \(api\/orders\.js:1\)$/,
    },
    {
      name: "a syntax error in an ES module",
      code: "import fs from 'node:fs';\nexport const handler = () => 1;\nexport default {\n  a: [1, 2,\n};\n",
      options: { module: "esm" },
      reason: "SyntaxError",
      message: /^SyntaxError: Unexpected token '}' \(index\.mjs:5\)$/,
    },
    {
      name: "an import that a built-in module does not export",
      code: "import { nothing } from 'node:fs';\nexport const handler = nothing;\n",
      options: { module: "esm" },
      reason: "SyntaxError",
      message: /^SyntaxError: .*nothing/,
    },
    {
      name: "a missing package, required",
      code: "const _ = require('lodash');\nexports.handler = () => 1;\n",
      reason: "ModuleNotFound",
      message: /^Error: Cannot find module 'lodash'.*\(index\.js:1\)$/,
    },
    {
      name: "a missing package, imported",
      code: "import _ from 'lodash';\nexport const handler = () => _;\n",
      options: { module: "esm" },
      reason: "ModuleNotFound",
      message: /^Error: Cannot find module 'lodash'/,
    },
    {
      name: "a missing file, required",
      code: "\nrequire('./other');\n",
      reason: "ModuleNotFound",
      message: /^Error: Cannot find module '\.\/other'.*\(index\.js:2\)$/,
    },
    {
      name: "code that throws",
      code: "\nthrow new TypeError('no luck');\n",
      reason: "LoadError",
      message: /^TypeError: no luck \(index\.js:2\)$/,
    },
    {
      name: "an ES module that throws after an await",
      code: "await null;\nthrow new RangeError('no luck');\n",
      options: { module: "esm" },
      reason: "LoadError",
      message: /^RangeError: no luck \(index\.mjs:2\)$/,
    },
    { name: "code that throws a string", code: "throw 'text';", reason: "LoadError", message: /^string: text$/ },
    {
      name: "a syntax error that the code threw itself",
      code: "JSON.parse('{');",
      reason: "LoadError",
      message: /^SyntaxError: .*\(index\.js:1\)$/,
    },
    {
      name: "a missing export",
      code: "exports.main = () => 1;\nexports.other = () => 2;\n",
      reason: "HandlerNotFound",
      message: /"handler".*main, other$/,
    },
    {
      name: "a missing export of an ES module",
      code: "export const main = 1;\nexport default { start: 1 };\n",
      options: { module: "esm" },
      reason: "HandlerNotFound",
      message: /"handler".*default, main, default\.start$/,
    },
    { name: "no exports", code: "", reason: "HandlerNotFound", message: /exports nothing$/ },
    {
      name: "what every object inherits",
      code: "",
      options: { handler: "index.toString" },
      reason: "HandlerNotFound",
      message: /toString/,
    },
    { name: "a handler that is a string", code: "exports.handler = 'x';", reason: "UnsupportedHandler", message: /of type string/ },
    { name: "a handler that is a class", code: "exports.handler = class {};", reason: "UnsupportedHandler", message: /a class/ },
  ];
  for (const { name, code, options, reason, message } of failures) {
    test(`tells of ${name}`, async (t) => {
      const { shim, result } = await load(t, language, code, options);
      assert.equal(result.kind, FrameType.FAILED);
      assert.equal(result.meta["reason"], reason);
      assert.match(String(result.meta["message"]), message);
      assert.notEqual((await shim.exited).code, 0);
    });
  }

  test("answers calls that came before an ES module was loaded, after READY", async (t) => {
    const shim = await start(t, language);
    await shim.hello();
    shim.sendSpecialise({
      code: "await new Promise((resolve) => setTimeout(resolve, 20));\nexport const handler = (event) => event.body;\n",
      handler: "index.handler",
      module: "esm",
    });
    const streams = [shim.sendCall('"a"'), shim.sendCall("{"), shim.sendCall('"c"')];
    const [a, b, c] = await Promise.all(streams.map((stream) => shim.answer(stream)));
    assert.equal(a?.body.toString(), "a");
    assert.equal(b?.error?.["code"], "INVALID_REQUEST");
    assert.equal(c?.body.toString(), "c");
    const kinds = shim.frames.map(({ kind }) => kind);
    assert.deepEqual(kinds, [FrameType.HELLO, FrameType.READY, 200, FrameType.ERROR, 200]);
  });

  test("sets the environment before the code runs, the time zone included", async (t) => {
    const code =
      "const { A } = process.env;\nconst hour = new Date(0).getHours();\nexports.handler = () => ({ A, hour, env: process.env });\n";
    const shim = await ready(t, language, code, { environment: { A: "1", TZ: "Asia/Tokyo", PATH: "/mine", HOME: "/theirs" } });
    assert.deepEqual(await callJson(shim), {
      A: "1",
      hour: 9,
      env: { A: "1", TZ: "Asia/Tokyo", PATH: "/mine", HOME: "/tmp", LANG: "C.UTF-8" },
    });
  });
}

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
    await shim.until("all that credit allows", () => dataBytes(shim, big) === 262_144);
    shim.credit(big, 100);
    await shim.until("a hundred more", () => dataBytes(shim, big) === 262_244);
    shim.credit(big, MIB);
    assert.equal((await shim.answer(big)).body.length, MIB);
  });

  test("ends a large body whose caller is gone", async (t) => {
    const shim = await ready(t, language, `exports.handler = async () => 'x'.repeat(${MIB});`, { concurrency: 1 });
    const stream = shim.sendCall("{}");
    await shim.until("all that credit allows", () => dataBytes(shim, stream) === 262_144);
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

function dataBytes(shim: Shim, stream: number): number {
  return shim.frames
    .filter((frame) => frame.stream === stream && frame.kind === FrameType.DATA)
    .reduce((sum, { body }) => sum + body.length, 0);
}

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
    await shim.until("all that credit allows", () => dataBytes(shim, stream) === 262_144);
    shim.credit(stream, 50_000);
    await shim.until("what the credit allows", () => dataBytes(shim, stream) === 312_144);
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

function testLife(language: ShimLanguage): void {
  test("answers BUSY at its concurrency, and PING at any time", async (t) => {
    const code = `const waiting = [];
    exports.handler = (event) => event.body.go ? waiting.forEach((go) => go(1)) : new Promise((resolve) => waiting.push(resolve));`;
    const shim = await ready(t, language, code, { concurrency: 2 });
    const first = shim.sendCall("{}");
    shim.sendCall("{}");
    const third = shim.sendCall("{}");
    assert.equal((await shim.answer(third)).isBusy, true);
    shim.send(FrameType.PING, 0, undefined, "12345678");
    const pong = await shim.wait("PONG", ({ kind }) => kind === FrameType.PONG);
    assert.deepEqual(pong.meta, { inFlight: 2 });
    assert.equal(pong.body.toString(), "12345678");
    assert(!shim.frames.some((frame) => frame.stream === first));
  });

  test("drains: ends what runs, begins nothing, exits with 0 whatever timers are left", async (t) => {
    const code = "setInterval(() => {}, 1000);\nexports.handler = () => new Promise((resolve) => setTimeout(resolve, 50, 'done'));\n";
    const shim = await ready(t, language, code);
    const running = shim.sendCall("{}");
    shim.send(FrameType.DRAIN, 0);
    const late = shim.sendCall("{}");
    assert.equal((await shim.answer(late)).isBusy, true);
    assert.equal((await shim.answer(running)).body.toString(), "done");
    assert.deepEqual(await shim.exited, { code: 0, signal: null });
  });

  test("drains at once when nothing runs", async (t) => {
    const shim = await start(t, language);
    await shim.hello();
    shim.send(FrameType.DRAIN, 0);
    assert.deepEqual(await shim.exited, { code: 0, signal: null });
  });

  test("sends a large answer whole before it has drained", async (t) => {
    const shim = await ready(t, language, "exports.handler = async () => 'x'.repeat(300000);");
    const stream = shim.sendCall("{}");
    shim.send(FrameType.DRAIN, 0);
    assert.equal((await shim.answer(stream)).body.length, 300_000);
    assert.deepEqual(await shim.exited, { code: 0, signal: null });
  });

  test("ends with its connection, in the middle of a call", async (t) => {
    const shim = await ready(t, language, "exports.handler = () => { console.log('in'); return new Promise(() => {}); };");
    shim.sendCall("{}");
    await shim.until("the handler to run", () => shim.logLines().length > 0);
    shim.hangUp();
    assert.equal((await shim.exited).signal, null);
  });

  test("ends with its connection though much waits to be sent", async (t) => {
    const shim = await ready(t, language, `exports.handler = async () => 'x'.repeat(${4 * MIB});`, { concurrency: 100 });
    shim.pause();
    for (let i = 0; i < 8; i += 1) shim.sendCall("{}");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const startMs = performance.now();
    shim.hangUp();
    await shim.exited;
    assert(performance.now() - startMs < 3_000);
  });

  test("keeps the frame socket to itself: processes that the function starts don't get it", async (t) => {
    const code = `const { execFileSync } = require('node:child_process');
    exports.handler = () => execFileSync('ls', ['-l', '/proc/self/fd']).toString().split('\\n').filter((line) => line.includes(' 3 -> socket:')).length;`;
    assert.equal(await callJson(await ready(t, language, code)), 0);
  });

  const endings: { name: string; code: string; exitCode: number; printed: RegExp }[] = [
    {
      name: "an error that nobody caught",
      code: "exports.handler = () => new Promise(() => { setTimeout(() => { throw new RangeError('boom'); }, 1); });",
      exitCode: 1,
      printed: /^Uncaught RangeError: boom\n {4}at .*\/function\/index\.js:1/,
    },
    {
      name: "a rejection that nobody handled",
      code: "exports.handler = () => new Promise(() => { Promise.reject(new Error('boom')); });",
      exitCode: 1,
      printed: /^Uncaught Error: boom/,
    },
    {
      name: "a rejection that is no error",
      code: "exports.handler = () => new Promise(() => { Promise.reject('just text'); });",
      exitCode: 1,
      printed: /^Uncaught .*just text/s,
    },
    {
      name: "process.exit in a handler",
      code: "exports.handler = () => { process.on('exit', () => console.error('!')); console.error('leaving'); process.stderr.write('now'); process.exit(3); };",
      exitCode: 3,
      printed: /^leaving\nnow!$/,
    },
  ];
  for (const { name, code, exitCode, printed } of endings) {
    test(`ends at ${name}, its words sent before`, async (t) => {
      const shim = await ready(t, language, code);
      const stream = shim.sendCall("{}");
      assert.equal((await shim.exited).code, exitCode);
      const lines = shim.logLines().filter((line) => line.stream === "stderr");
      assert.match(lines.map(({ text }) => text).join("\n"), printed);
      assert.equal(lines[0]?.requestId, `request-${stream}`);
      assert(!shim.frames.some((frame) => frame.stream === stream && frame.kind >= 200));
    });
  }

  test("lives on when the function catches what nobody caught", async (t) => {
    const code = `process.on('uncaughtException', (error) => console.log('caught', error.message));
    exports.handler = () => new Promise((resolve) => { setTimeout(() => { setTimeout(resolve, 1, 'alive'); throw new Error('boom'); }, 1); });`;
    const shim = await ready(t, language, code);
    assert.equal((await shim.call("{}")).body.toString(), "alive");
    assert(shim.logLines().some(({ text }) => text === "caught boom"));
  });

  test("sends what waits before process.exit though the gateway reads slowly", async (t) => {
    const code = "exports.handler = () => { for (let i = 0; i < 900; i += 1) console.log(String(i).padEnd(999, '.')); process.exit(0); };";
    const shim = await ready(t, language, code);
    shim.pause();
    shim.sendCall("{}");
    await new Promise((resolve) => setTimeout(resolve, 100));
    shim.resume();
    await shim.exited;
    assert.equal(shim.logLines().length, 900);
    assert.match(shim.logLines()[899]?.text ?? "", /^899\.+$/);
  });

  test("refuses a second SPECIALISE, a stream used again, and a CALL before SPECIALISE", async (t) => {
    const again = await ready(t, language, "exports.handler = () => 1;");
    again.sendSpecialise({ code: "", handler: "index.handler", module: "commonjs" });
    assert.equal((await again.exited).code, 1);
    const reused = await ready(t, language, "exports.handler = () => 1;");
    await reused.call("{}");
    reused.send(FrameType.CALL, 1, buildCallMeta(1, {}), "{}");
    assert.equal((await reused.exited).code, 1);
    const early = await start(t, language);
    await early.hello();
    early.sendCall("{}");
    assert.equal((await early.exited).code, 1);
  });

  test("answers its first call soon after SPECIALISE", async (t) => {
    const samples: number[] = [];
    for (let i = 0; i < 5; i += 1) samples.push(await measureFirstCall(await start(t, language)));
    samples.sort((a, b) => a - b);
    t.diagnostic(`SPECIALISE and first CALL: ${samples.map((ms) => ms.toFixed(2)).join(", ")} ms`);
  });
}

async function measureFirstCall(shim: Shim): Promise<number> {
  await shim.hello();
  const specialisation: Specialisation = {
    code: "exports.handler = async (event) => ({ statusCode: 200, body: { echo: event.body } });",
    handler: "index.handler",
    module: "commonjs",
  };
  const startMs = performance.now();
  shim.send(FrameType.SPECIALISE, 0, buildSpecialiseMeta(specialisation), buildSpecialiseBody(specialisation));
  await shim.call('{"key":"value"}');
  return performance.now() - startMs;
}

function testHostileCode(language: ShimLanguage): void {
  const attacks: { name: string; code: string }[] = [
    { name: "JSON replaced", code: "JSON.parse = JSON.stringify = () => { throw new Error('patched'); };" },
    {
      name: "toJSON on every prototype",
      code: "for (const c of [Object, Array, String, Number, Boolean]) c.prototype.toJSON = () => 'polluted';",
    },
    {
      name: "Buffer's methods replaced",
      code: "for (const name of Object.getOwnPropertyNames(Buffer.prototype)) if (typeof Buffer.prototype[name] === 'function' && name !== 'constructor') Buffer.prototype[name] = () => 0; Buffer.from = Buffer.alloc = Buffer.allocUnsafe = Buffer.byteLength = () => 0;",
    },
    {
      name: "sockets and files that do not write",
      code: "const net = require('net'); net.Socket.prototype.write = () => { throw new Error('patched'); }; const fs = require('fs'); fs.writeSync = fs.write = () => { throw new Error('patched'); };",
    },
    { name: "timers that never fire", code: "globalThis.setImmediate = globalThis.setTimeout = process.nextTick = () => {};" },
    {
      name: "Map and strings replaced",
      code: "Map.prototype.get = Map.prototype.set = Map.prototype.delete = () => undefined; String.prototype.indexOf = String.prototype.split = String.prototype.slice = () => '';",
    },
    {
      name: "arrays replaced",
      code: "Array.prototype.push = Array.prototype.shift = Array.prototype[Symbol.iterator] = () => { throw new Error('patched'); };",
    },
    { name: "time replaced", code: "Date.now = performance.now = () => NaN; globalThis.performance = undefined;" },
    {
      name: "keys on Object.prototype",
      code: "Object.prototype.kind = Object.prototype.code = Object.prototype.value = Object.prototype.done = 'polluted';",
    },
    {
      name: "functions replaced",
      code: "Function.prototype.bind = Function.prototype.toString = () => { throw new Error('patched'); };",
    },
    {
      name: "promises replaced",
      code: "Promise.prototype.then = Promise.prototype.catch = () => { throw new Error('patched'); }; Promise.resolve = () => {};",
    },
    {
      name: "console and process replaced",
      code: "console.log = process.stdout.write = process.exit = () => { throw new Error('patched'); };",
    },
  ];
  for (const { name, code } of attacks) {
    test(`keeps its frames with ${name}`, async (t) => {
      const shim = await ready(t, language, `exports.handler = async (event) => 'fine';\n${code}\n`);
      for (let i = 0; i < 3; i += 1) {
        const answer = await shim.call('{"a":1}');
        assert.equal(answer.body.toString(), "fine", JSON.stringify(answer.error));
        assert.equal(answer.head?.meta["kind"], "text");
        assert.equal(answer.head?.meta["headers"], undefined);
      }
      shim.send(FrameType.PING, 0, undefined, "12345678");
      await shim.wait("PONG", ({ kind }) => kind === FrameType.PONG);
      shim.send(FrameType.DRAIN, 0);
      assert.equal((await shim.exited).code, 0);
    });
  }
}
