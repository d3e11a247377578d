import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { PYTHONS, type Python, usePythonShims } from "./pythons.ts";

for (const python of PYTHONS) {
  describe(`what is printed on ${python.name}`, { skip: python.missing ?? false }, () => describeLogs(python));
}

function describeLogs(python: Python): void {
  const load = usePythonShims(python);

  test("comes before the answer, in one frame a stream, with the call's id", async () => {
    const code =
      "import sys, logging, warnings\nlogging.basicConfig(level='INFO')\ndef handler(event, context):\n  print('one'); print('two', 3, end='')\n" +
      "  logging.info('four'); warnings.warn('five'); sys.stderr.write('six')";
    const shim = await load(code);
    await shim.call();
    const logs = shim.frames.filter(({ kind }) => kind === FrameType.LOG);
    assert.deepEqual(
      logs.map(({ stream, meta, body }) => [stream, meta["stream"], meta["requestId"], body.toString()]),
      [
        [1, "stdout", "request-1", "one"],
        [1, "stderr", "request-1", "INFO:root:four\nhandler.py:5: UserWarning: five"],
        [1, "stdout", "request-1", "two 3"],
        [1, "stderr", "request-1", "six"],
      ],
    );
    assert.equal(shim.frames.at(-1)?.kind, 200);
    assert.ok(Math.abs(Number(logs[0]?.meta["timeMs"]) - Date.now()) < 60_000);
    assert.equal(shim.printed, "");
  });

  test("comes while the handler still runs", async () => {
    const shim = await load("def handler(event, context):\n  print('early')\n  context.signal.wait(20)\n  print('late')");
    const stream = shim.sendCall();
    await shim.until("the early line", () => shim.logLines().some(({ text }) => text === "early"));
    shim.send(FrameType.CANCEL, stream);
    await shim.answer(stream);
    assert.deepEqual(
      shim.logLines().map(({ text }) => text),
      ["early", "late"],
    );
  });

  test("is told apart between calls that print at the same time, by threads and tasks of theirs too", async () => {
    const threads =
      "import threading\nfrom concurrent.futures import ThreadPoolExecutor\nhere = threading.Barrier(3)\ndef say(rid, n):\n  print('thread', rid, n)\n" +
      "def handler(event, context):\n  here.wait(10)\n  for n in range(5):\n    print('part ', end='')\n    t = threading.Thread(target=say, args=(context.request_id, n)); t.start(); t.join()\n    print(context.request_id)\n" +
      "  with ThreadPoolExecutor(1) as pool: pool.submit(say, context.request_id, 'pool').result()";
    const tasks =
      "import asyncio\nasync def say(rid, n):\n  await asyncio.sleep(0)\n  print('task', rid, n)\nasync def handler(event, context):\n" +
      "  for n in range(5):\n    print('part ', end='')\n    await asyncio.create_task(say(context.request_id, n))\n    print(context.request_id)\n" +
      "  if hasattr(asyncio, 'to_thread'): await asyncio.to_thread(print, 'thread', context.request_id)";
    for (const code of [threads, tasks]) {
      const shim = await load(code, { concurrency: 3 });
      await Promise.all([shim.call(), shim.call(), shim.call()]);
      const lines = shim.logLines();
      assert.ok(lines.length >= 33, JSON.stringify(lines));
      for (const { requestId, text } of lines) assert.ok(text.split(" ").includes(String(requestId)), `${String(requestId)}: ${text}`);
    }
  });

  test("of a thread pool that outlives its call belongs to the call that it works for", async () => {
    const code =
      "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\ndef handler(event, context): pool.submit(print, context.request_id).result()";
    const shim = await load(code);
    for (let i = 0; i < 3; i += 1) await shim.call();
    assert.deepEqual(
      shim.logLines().map(({ requestId, text }) => [requestId, text]),
      [1, 2, 3].map((n) => [`request-${n}`, `request-${n}`]),
    );
  });

  test("by a thread that goes on after the answer is still found under its call", async () => {
    const code =
      "import threading\ngo = threading.Event()\ndef late():\n  go.wait(20)\n  print('late')\ndef handler(event, context):\n" +
      "  if event['body'] == 1: threading.Thread(target=late, daemon=True).start()\n  else: threading.Timer(0.01, go.set).start()";
    const shim = await load(code);
    await shim.call("1");
    await shim.call("2");
    await shim.until("the late line", () => shim.logLines().length > 0);
    const [line] = shim.logLines();
    assert.deepEqual([line?.text, line?.requestId], ["late", "request-1"]);
  });

  test("includes errors that nobody caught in a thread, and the process goes on", async () => {
    const code =
      "import threading\ndef handler(event, context):\n  t = threading.Thread(target=lambda: 1 / 0)\n  t.start()\n  t.join()\n  return 1";
    const shim = await load(code);
    assert.equal((await shim.call()).body.toString(), "1");
    assert.ok(
      shim
        .logLines()
        .some(({ stream, requestId, text }) => stream === "stderr" && requestId === "request-1" && text.startsWith("ZeroDivisionError")),
    );
    assert.equal((await shim.call()).body.toString(), "1");
  });

  test("is cut at 64 KiB a line, and made UTF-8 whatever it is", async () => {
    const code =
      "import sys\ndef handler(event, context):\n  print('x' * 100000)\n  for _ in range(70000): print('é', end='')\n  print()\n" +
      "  sys.stdout.buffer.write(b'\\xff\\xc3\\xa9\\n')\n  sys.stdout.buffer.flush()\n  print('\\ud800')\n  print('é' * 32768)";
    const shim = await load(code);
    await shim.call();
    const lines = shim.logLines();
    assert.deepEqual(
      lines.map(({ text, truncated }) => [Buffer.byteLength(text), truncated]),
      [
        [65_536, true],
        [65_536, true],
        [5, undefined],
        [6, undefined],
        [65_536, undefined],
      ],
    );
    assert.deepEqual([lines[1]?.text.at(-1), lines[2]?.text, lines[3]?.text], ["é", "\ufffdé", "\\ud800"]);
  });

  test("to the descriptors themselves stays there, and a closed stdout breaks nothing", async () => {
    const code =
      "import os, sys, subprocess\ndef handler(event, context):\n  os.write(1, b'raw\\n')\n  subprocess.run(['/bin/echo', 'child'], stdout=sys.stdout)\n" +
      "  sys.stdout.close()\n  sys.stderr.close()\n  return sys.stdout.closed";
    const shim = await load(code);
    assert.equal((await shim.call()).body.toString(), "true");
    await shim.until("the pipe", () => shim.printed === "raw\nchild\n");
    assert.deepEqual(shim.logLines(), []);
    assert.equal((await shim.call()).body.toString(), "true");
  });

  test("without end, while the gateway reads nothing, takes bounded time and memory, and what is dropped is counted", async () => {
    const code =
      "import os, resource\ndef peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\ndef handler(event, context):\n  before = peak()\n" +
      "  for i in range(60000): print('line', i, 'x' * 100)\n  os.write(1, b'done')\n  return peak() - before";
    const shim = await load(code);
    shim.pause();
    const stream = shim.sendCall();
    await shim.until("the end of the handler", () => shim.printed === "done");
    shim.resume();
    const { body } = await shim.answer(stream);
    assert.ok(Number(body.toString()) < 16 * 1024, `grew by ${body.toString()} KiB`);
    await shim.until("the count", () => shim.frames.some(({ meta }) => meta["dropped"] !== undefined));
    const dropped = shim.frames.reduce((sum, { meta }) => sum + Number(meta["dropped"] ?? 0), 0);
    const kept = shim.logLines().filter(({ text }) => text.startsWith("line ")).length;
    assert.equal(kept + dropped, 60_000);
  });

  test("in a moderate burst is complete while the gateway reads", async () => {
    const shim = await load("def handler(event, context):\n  for i in range(10000): print('line', i)");
    await shim.call();
    await shim.until("every line", () => shim.logLines().length === 10_000);
    assert.deepEqual(
      shim.logLines().map(({ text }) => text),
      Array.from({ length: 10_000 }, (_, i) => `line ${i}`),
    );
  });
}
