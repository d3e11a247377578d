import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { describeNodejs, ready } from "./nodejs.ts";

describeNodejs("hostile code", testHostileCode);

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
