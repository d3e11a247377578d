import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { PYTHONS, type Python, usePythonShims } from "./pythons.ts";
import type { Json, Shim, ShimFrame } from "./support.ts";

const WINDOW_BYTES = 262_144;

/** Each way in which the shim runs handlers: the main thread, threads, the event loop. */
const MODES = [
  { mode: "in the main thread", concurrency: 1, wait: "import time\ndef handler(event, context):\n  time.sleep(0.001)\n  return 1" },
  { mode: "in threads", concurrency: 3, wait: "import time\ndef handler(event, context):\n  time.sleep(0.001)\n  return 1" },
  {
    mode: "on the event loop",
    concurrency: 3,
    wait: "import asyncio\nasync def handler(event, context):\n  await asyncio.sleep(0.001)\n  return 1",
  },
];

/** Handlers that end when all of them run and each has been cancelled. */
const SIDE_BY_SIDE: [string, string, number][] = [
  [
    "sync handlers",
    "import threading\nall_here = threading.Barrier(5)\ndef handler(event, context):\n  all_here.wait(10)\n  context.signal.wait(20)\n  return event['requestId']",
    5,
  ],
  [
    "async handlers",
    "import asyncio\nhere = 0\nasync def handler(event, context):\n  global here\n  here += 1\n  while here < 50 or not context.signal.aborted: await asyncio.sleep(0.001)\n  return event['requestId']",
    50,
  ],
];

const STREAMS = [
  { kind: "a generator", concurrency: 1, head: "def handler(event, context):\n  try:\n    for _ in range(20): " },
  { kind: "a generator in threads", concurrency: 2, head: "def handler(event, context):\n  try:\n    for _ in range(20): " },
  {
    kind: "an async generator without asyncio",
    concurrency: 1,
    head: "async def handler(event, context):\n  try:\n    for _ in range(20): ",
  },
  {
    kind: "an async generator",
    concurrency: 1,
    head: "import asyncio\nasync def handler(event, context):\n  try:\n    for _ in range(20): ",
  },
];

/** What JSON makes of values that only Python has. */
const VALUES: { value: string; json?: string; error?: RegExp; type?: string }[] = [
  { value: "(1, 'é', None)", json: '[1,"é",null]' },
  { value: "{1: 2, None: 3, 1.5: 4, False: 5}", json: '{"1":2,"null":3,"1.5":4,"false":5}' },
  { value: "{float('nan'): float('inf')}", json: '{"NaN":null}' },
  { value: "['\\ud800']", json: '["\\ud800"]' },
  { value: "{'statusCode': http.HTTPStatus.OK}", json: "" },
  { value: "decimal.Decimal(1)", type: "TypeError", error: /Decimal/ },
  { value: "datetime.datetime(2026, 1, 1)", type: "TypeError", error: /datetime/ },
  { value: "{(1, 2): 3}", type: "TypeError", error: /tuple/ },
  { value: "functools.reduce(lambda inner, _: [inner], range(100000), 1)", type: "RecursionError", error: /deep/ },
];

for (const python of PYTHONS) {
  describe(python.name, { skip: python.missing ?? false }, () => describeCalls(python));
}

function describeCalls(python: Python): void {
  const load = usePythonShims(python);
  const callJson = async (shim: Shim, body = "{}", meta: Json = {}): Promise<unknown> => {
    const answer = await shim.call(body, meta);
    assert.equal(answer.head?.kind, 200, JSON.stringify(answer.error));
    return JSON.parse(answer.body.toString());
  };

  for (const { mode, concurrency, wait } of MODES) {
    test(`frees a call's place with its answer ${mode}`, async () => {
      const shim = await load(wait, { concurrency });
      for (let i = 0; i < 100; i += 1) {
        const answers = await Promise.all(Array.from({ length: concurrency }, () => shim.call("{}")));
        assert.deepEqual(
          answers.map(({ head }) => head?.kind),
          Array(concurrency).fill(200),
        );
      }
      await shim.stop();
    });
  }

  for (const [kind, code, concurrency] of SIDE_BY_SIDE) {
    test(`runs ${kind} side by side, as many as it may`, async () => {
      const shim = await load(code, { concurrency });
      const streams = Array.from({ length: concurrency }, () => shim.sendCall());
      const oneMore = shim.sendCall();
      assert.equal((await shim.answer(oneMore)).isBusy, true);
      for (const stream of streams) shim.send(FrameType.CANCEL, stream);
      const answers = await Promise.all(streams.map((stream) => shim.answer(stream)));
      assert.deepEqual(
        answers.map(({ body }) => body.toString()),
        streams.map((stream) => `request-${stream}`),
      );
    });
  }

  for (const [kind, code, concurrency] of SIDE_BY_SIDE) {
    test(`runs ${kind} side by side that came while the code was loaded`, async (t) => {
      const slow = `import time\ntime.sleep(0.1)\n${code}`;
      const shim = await python.start(slow);
      t.after(() => shim.stop());
      await shim.hello();
      shim.sendSpecialise({ code: slow, handler: "handler.handler", concurrency });
      const streams = Array.from({ length: concurrency }, () => shim.sendCall());
      for (const stream of streams) shim.send(FrameType.CANCEL, stream);
      for (const stream of streams) assert.equal((await shim.answer(stream)).body.toString(), `request-${stream}`);
    });
  }

  for (const [kind, spin] of [
    ["computes", "while not context.signal.aborted: pass"],
    ["waits for its signal", "context.signal.wait(20)"],
  ]) {
    test(`answers PING and refuses calls while a handler ${kind}, and tells it that its caller is gone`, async () => {
      const shim = await load(`def handler(event, context):\n  ${spin}\n  return context.signal.is_set()`);
      const stream = shim.sendCall();
      const busy = shim.sendCall();
      shim.send(FrameType.PING, 0, undefined, "12345678");
      const pong = await shim.wait("PONG", (frame) => frame.kind === FrameType.PONG);
      assert.equal(pong.body.toString(), "12345678");
      assert.deepEqual(pong.meta, { inFlight: 1 });
      assert.equal((await shim.answer(busy)).isBusy, true);
      shim.send(FrameType.CANCEL, stream);
      assert.equal((await shim.answer(stream)).body.toString(), "true");
      assert.equal(await callJsonAfterCancel(shim), true);
    });
  }

  const callJsonAfterCancel = async (shim: Shim): Promise<unknown> => {
    const stream = shim.sendCall();
    shim.send(FrameType.CANCEL, stream);
    return JSON.parse((await shim.answer(stream)).body.toString());
  };

  test("does not kill an async handler whose caller is gone", async () => {
    const code =
      "import asyncio\nasync def handler(event, context):\n  while not context.signal.aborted: await asyncio.sleep(0.001)\n  return 'finished'";
    const shim = await load(code);
    const stream = shim.sendCall();
    shim.send(FrameType.CANCEL, stream);
    assert.equal((await shim.answer(stream)).body.toString(), "finished");
  });

  for (const { kind, concurrency, head } of STREAMS) {
    test(`sends what ${kind} yields as far as credit goes, and closes it when the caller leaves`, async () => {
      const shim = await load(`${head}yield b"x" * 100000\n  finally: print("closed")`, { concurrency });
      const whole = await shim.call();
      assert.equal(whole.body.length, 2_000_000);
      await shim.wait("the first end", (frame) => frame.kind === FrameType.LOG);

      const stream = shim.sendCall();
      const ofStream = (frame: ShimFrame): boolean => frame.stream === stream && frame.kind === FrameType.DATA;
      const dataBytes = (): number => shim.frames.filter(ofStream).reduce((sum, { body }) => sum + body.length, 0);
      await shim.until("the window", () => dataBytes() >= WINDOW_BYTES);
      shim.send(FrameType.PING, 0, undefined, "12345678");
      await shim.wait("PONG", (frame) => frame.kind === FrameType.PONG);
      assert.equal(dataBytes(), WINDOW_BYTES);
      shim.send(FrameType.CANCEL, stream);
      const { abort } = await shim.answer(stream);
      assert.deepEqual(abort, { message: "the caller went away" });
      assert.equal(shim.logLines().filter(({ text }) => text === "closed").length, 2);
    });
  }

  test("sends a large response as far as credit goes, and serves others meanwhile", async () => {
    const shim = await load("def handler(event, context): return 'x' * event['body']", { concurrency: 2 });
    const large = shim.sendCall("1000000");
    assert.equal((await shim.call("3")).body.toString(), "xxx");
    assert.equal((await shim.answer(large)).body.length, 1_000_000);
  });

  test("collects a large request body and gives credit for it", async () => {
    const shim = await load("def handler(event, context): return [len(event['body']), len(event['rawBody'])]");
    const body = JSON.stringify("é".repeat(1_000_000));
    assert.deepEqual(await callJson(shim, body), [1_000_000, 2_000_002]);
    const credit = shim.frames.filter(({ kind }) => kind === FrameType.CREDIT).reduce((sum, frame) => sum + frame.body.readUInt32BE(), 0);
    assert.ok(credit >= 1_000_000, `${credit}`);
  });

  test("hands over an event that is a dict, with the raw body beside", async () => {
    const code =
      "import copy, json\ndef handler(event, context):\n  return [json.loads(json.dumps(event)) == event, sorted(event), event['rawBody'].decode(), event.get('rawBody') == event['rawBody']," +
      " 'rawBody' in event, event.get('nothing', 1), dict(event) == event, copy.deepcopy(event)['rawBody'].decode(), isinstance(event, dict)]";
    const shim = await load(code);
    const names = ["body", "headers", "isBase64Encoded", "method", "params", "path", "query", "requestId", "trigger"];
    assert.deepEqual(await callJson(shim, "[1 ]"), [true, names, "[1 ]", true, true, 1, true, "[1 ]", true]);
  });

  test("hands over a context with the names of AWS Lambda", async () => {
    const code =
      "def handler(event, context):\n  context.log('said', 1)\n  return [context.function_name, context.function_version, context.memory_limit_in_mb, context.aws_request_id, context.request_id," +
      " context.invoked_function_arn, context.log_group_name, context.log_stream_name, context.client_context, context.identity, 29000 < context.get_remaining_time_in_millis() <= 30000," +
      " context.deadline > 1.7e12]";
    const shim = await load(code);
    const group = "/kube-serverless/hello";
    const expected = ["hello", "1", "256", "request-1", "request-1", "kube-serverless:hello:1", group, "1/u-1", null, null, true, true];
    assert.deepEqual(await callJson(shim), expected);
    assert.deepEqual(
      shim.logLines().map(({ text }) => text),
      ["said 1"],
    );
  });

  test("writes as JSON what it can, and names what it cannot", async (t) => {
    const code = "import datetime, decimal, functools, http\ndef handler(event, context): return eval(event['body'])";
    const shim = await load(code);
    for (const { value, json, error, type } of VALUES) {
      await t.test(value, async () => {
        const answer = await shim.call(JSON.stringify(value));
        assert.equal(answer.error?.["type"], type);
        if (error !== undefined) assert.match(String(answer.error?.["message"]), error);
        else assert.equal(answer.body.toString(), json);
      });
    }
  });

  test("refuses numbers that would hold the interpreter for minutes", async () => {
    const shim = await load("def handler(event, context): return type(event['body']).__name__");
    const digits = "1".repeat(6_000_000);
    assert.equal((await shim.call(digits)).error?.["code"], "INVALID_REQUEST");
    assert.equal((await shim.call(digits, { headers: {} })).body.toString(), "str");
  });

  test("tells where an error was thrown, in the function's own lines alone", async () => {
    const code =
      "def inner():\n  raise KeyError('k')\n\ndef handler(event, context):\n  try:\n    inner()\n  except KeyError as error:\n    raise ValueError('v') from error\n";
    const { error } = await (await load(code)).call();
    assert.equal(error?.["type"], "ValueError");
    assert.equal(error["message"], "v");
    const stack = String(error["stack"]);
    assert.match(stack, /File "handler\.py", line 2, in inner\n {4}raise KeyError/);
    assert.match(stack, /direct cause[^]*File "handler\.py", line 8, in handler[^]*ValueError: v\n$/);
    assert.doesNotMatch(stack, /serve\.py|ks_replica/);
  });

  test("survives endless recursion, and errors that cannot be shown", async () => {
    const code =
      "class E(Exception):\n  def __str__(self): raise ValueError()\ndef handler(event, context):\n  if event['body'] == 1: raise E()\n  return handler(event, context)";
    const shim = await load(code);
    assert.equal((await shim.call("0")).error?.["type"], "RecursionError");
    assert.equal((await shim.call("1")).error?.["message"], "(E cannot be shown as text)");
    assert.ok(String((await shim.call("0")).error?.["stack"]).length <= 16_384);
  });

  test("serves on when the function patches what the shim is made of", async () => {
    const code =
      "import json, os, socket, threading, time\ndef broken(*a, **k): raise RuntimeError('patched')\n" +
      "json.dumps = json.loads = json.JSONEncoder.encode = json.JSONDecoder.decode = socket.socket = time.time = time.sleep = broken\n" +
      "os.read = os.write = os._exit = threading.Thread = threading.Lock = threading.current_thread = broken\n" +
      "def handler(event, context):\n  print('still')\n  return event['body']";
    const shim = await load(code);
    for (let i = 0; i < 3; i += 1) assert.deepEqual(await callJson(shim, '{"a":1}'), { a: 1 });
    assert.equal(shim.logLines().length, 3);
    shim.send(FrameType.DRAIN, 0);
    assert.deepEqual(await shim.exited, { code: 0, signal: null });
  });

  test("serves on when a signal handler of the function throws between calls", async () => {
    const code =
      "import signal\ndef late(*a):\n  raise TimeoutError('too late')\nsignal.signal(signal.SIGALRM, late)\ndef handler(event, context):\n  signal.setitimer(signal.ITIMER_REAL, 0.01)\n  return 1";
    const shim = await load(code);
    assert.equal(await callJson(shim), 1);
    await shim.until("the alarm", () => shim.logLines().some(({ text }) => text === "TimeoutError: too late"));
    assert.equal(await callJson(shim), 1);
  });

  test("runs handlers in the main thread, where signals interrupt them", async () => {
    const code =
      "import signal, time\nclass Late(Exception): pass\ndef late(*a): raise Late()\nsignal.signal(signal.SIGALRM, late)\ndef handler(event, context):\n" +
      "  signal.setitimer(signal.ITIMER_REAL, 0.01)\n  try: time.sleep(20)\n  except Late: return 'interrupted'";
    assert.equal((await (await load(code)).call()).body.toString(), "interrupted");
  });

  test("keeps context variables of one call from the next", async () => {
    const code =
      "import contextvars\nseen = contextvars.ContextVar('seen', default=0)\ndef handler(event, context):\n  seen.set(seen.get() + 1)\n  return seen.get()";
    const shim = await load(code);
    assert.deepEqual([await callJson(shim), await callJson(shim)], [1, 1]);
  });

  test("keeps forked children off the frames", async () => {
    const code =
      "import os, multiprocessing\ndef square(x):\n  print('child')\n  return x * x\ndef handler(event, context):\n  pid = os.fork()\n  if pid == 0: return 'of the child'\n" +
      "  status = os.waitpid(pid, 0)[1]\n  with multiprocessing.get_context('fork').Pool(2) as pool: return [status, pool.map(square, [1, 2, 3])]";
    const shim = await load(code);
    assert.deepEqual(await callJson(shim), [0, [1, 4, 9]]);
    assert.deepEqual(await callJson(shim), [0, [1, 4, 9]]);
    await shim.until("what the children printed", () => shim.printed.split("child").length === 7);
  });

  test("does not hand the frame socket to programs that the function starts", async () => {
    const code =
      "import os, subprocess\ndef handler(event, context):\n  mine = os.readlink('/proc/self/fd/3')\n" +
      "  return mine in subprocess.run(['/bin/ls', '-l', '/proc/self/fd'], capture_output=True, text=True, close_fds=False).stdout";
    assert.equal(await callJson(await load(code)), false);
  });

  for (const [code, how] of [
    ["import sys\ndef handler(event, context): sys.exit(7)", "sys.exit"],
    ["import asyncio, sys\nasync def handler(event, context): sys.exit(7)", "sys.exit on the event loop"],
    ["import os\ndef handler(event, context): os._exit(7)", "os._exit"],
  ]) {
    test(`ends the process at ${how}`, async () => {
      const shim = await load(`${code}`);
      shim.sendCall();
      assert.deepEqual(await shim.exited, { code: 7, signal: null });
    });
  }

  test("leaves a trace of a crash of the interpreter", async () => {
    const shim = await load("import os, signal\ndef handler(event, context): os.kill(os.getpid(), signal.SIGSEGV)");
    shim.sendCall();
    assert.equal((await shim.exited).signal, "SIGSEGV");
    assert.match(shim.printed, /Segmentation fault[^]*"handler\.py", line 2 in handler/);
  });

  for (const { mode, concurrency, wait } of MODES) {
    test(`at DRAIN ends when its calls have ended, having run what atexit knows, ${mode}`, async () => {
      const shim = await load(`import atexit\natexit.register(print, 'bye')\n${wait.replace("0.001", "0.1")}`, { concurrency });
      const stream = shim.sendCall();
      shim.send(FrameType.DRAIN, 0);
      const late = shim.sendCall();
      const [first, second] = await Promise.all([shim.answer(stream), shim.answer(late)]);
      assert.equal(first.body.toString(), "1");
      assert.equal(second.isBusy, true);
      assert.deepEqual(await shim.exited, { code: 0, signal: null });
      assert.deepEqual(
        shim.logLines().map(({ text }) => text),
        ["bye"],
      );
    });
  }

  test("ends at once at the end of the stream, whatever runs", async () => {
    const shim = await load("import time\ndef handler(event, context):\n  print('running')\n  time.sleep(60)");
    shim.sendCall();
    await shim.until("the handler", () => shim.logLines().length === 1);
    shim.hangUp();
    assert.deepEqual(await shim.exited, { code: 0, signal: null });
  });

  test("ends at a second SPECIALISE", async () => {
    const shim = await load("def handler(event, context): pass");
    shim.send(FrameType.SPECIALISE, 0, {}, Buffer.alloc(4));
    assert.deepEqual(await shim.exited, { code: 1, signal: null });
    assert.match(shim.printed, /^replica: the gateway sent a second SPECIALISE/);
  });

  test("starts no handler for a body that never came whole", async () => {
    const shim = await load("def handler(event, context): print('ran')");
    shim.send(FrameType.CALL, 1, { id: "r", method: "POST", path: "/", query: {}, headers: {}, trigger: { type: "http" } }, "half", true);
    shim.send(FrameType.CANCEL, 1);
    const { error } = await shim.answer(1);
    assert.equal(error?.["code"], "INVALID_REQUEST");
    assert.deepEqual(shim.logLines(), []);
  });
}
