import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { callJson, describeNodejs, load, type Options, ready, start } from "./nodejs.ts";

describeNodejs("loading", testLoading);

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
      name: "code that throws null",
      code: "throw null;\n",
      reason: "LoadError",
      message: /^The code threw null while it was loaded/,
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
    {
      name: "a getter that throws in place of the handler",
      code: "\nObject.defineProperty(exports, 'handler', { get() { throw new TypeError('no luck'); } });\n",
      reason: "LoadError",
      message: /^TypeError: no luck \(index\.js:2\)$/,
    },
    {
      name: "a getter of an ES module's default export that throws",
      code: "export default {\n  get handler() { throw new RangeError('no luck'); },\n};\n",
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
