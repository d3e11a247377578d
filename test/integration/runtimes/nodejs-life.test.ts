import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { callJson, describeNodejs, MIB, ready, start } from "./nodejs.ts";
import { buildCallMeta, buildSpecialiseBody, buildSpecialiseMeta, type Shim, type Specialisation } from "./support.ts";

describeNodejs("life and endings", testLife);

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
