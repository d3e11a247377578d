import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { after, describe, test } from "node:test";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import { PYTHONS, type Python, runPython } from "./pythons.ts";
import type { Shim, ShimFrame, Specialisation } from "./support.ts";

const VECTORS = resolve(import.meta.dirname, "../../../runtimes/vectors/frames.json");

interface Case {
  when: string;
  code: string;
  handler?: string;
}

const FAILURES: (Case & { reason: string; message: RegExp })[] = [
  {
    when: "the syntax is wrong",
    code: "x = 1\n\ndef handler(event)\n    pass\n",
    reason: "SyntaxError",
    message: /^SyntaxError: .*\(handler\.py, line 3\)$/,
  },
  {
    when: "the indentation is wrong",
    code: "def handler(event):\npass\n",
    reason: "SyntaxError",
    message: /^IndentationError: .*\(handler\.py, line 2\)$/,
  },
  { when: "there is a NUL", code: "x = '\0'\n", reason: "SyntaxError", message: /^SyntaxError: .*null byte/ },
  {
    when: "an expression is nested 100,000 deep",
    code: `x = ${"(".repeat(100_000)}1${")".repeat(100_000)}`,
    reason: "SyntaxError",
    message: /^SyntaxError: /,
  },
  {
    when: "a module is missing",
    code: "import os\nimport requests.adapters\n",
    reason: "ModuleNotFound",
    message: /^ModuleNotFoundError: No module named 'requests' \(handler\.py, line 2\)$/,
  },
  {
    when: "a name within a module is missing",
    code: "from os import nothing\n",
    reason: "LoadError",
    message: /^ImportError: cannot import name 'nothing' from 'os'.*\(handler\.py, line 1\)$/,
  },
  {
    when: "the function is missing",
    code: "import json\nfrom os import getcwd\n\ndef main(event): pass\ndef _hidden(event): pass\nclass Api: pass\n",
    reason: "HandlerNotFound",
    message: /^AttributeError: handler\.py has no function 'handler'; it has: Api, main$/,
  },
  { when: "there is no function at all", code: "x = 1\n", reason: "HandlerNotFound", message: /has no function 'handler'; it has none$/ },
  {
    when: "the handler is no function",
    code: "handler = 'text'\n",
    reason: "HandlerNotFound",
    message: /^TypeError: 'handler' in handler\.py is not a function but str$/,
  },
  {
    when: "the handler takes nothing",
    code: "def handler(): pass\n",
    reason: "UnsupportedHandler",
    message: /^TypeError: the handler 'handler' must take one or two parameters.*it takes 0$/,
  },
  { when: "the handler needs three", code: "def handler(a, b, c): pass\n", reason: "UnsupportedHandler", message: /it takes 3$/ },
  { when: "the handler needs keywords", code: "def handler(event, *, key): pass\n", reason: "UnsupportedHandler", message: /^TypeError/ },
  { when: "the handler is a class", code: "class handler: pass\n", reason: "UnsupportedHandler", message: /is a class; name a function$/ },
  {
    when: "the code throws",
    code: "def f():\n    return {}['key']\n\nf()\n",
    reason: "LoadError",
    message: /^KeyError: 'key' \(handler\.py, line 2\)$/,
  },
  { when: "the code exits", code: "import sys\nsys.exit(3)\n", reason: "LoadError", message: /^SystemExit: .*\(handler\.py, line 2\)$/ },
  {
    when: "the code's error cannot be shown",
    code: "class E(Exception):\n    def __str__(self): raise ValueError()\nraise E()\n",
    reason: "LoadError",
    message: /^E: \(E cannot be shown as text\) \(handler\.py, line 3\)$/,
  },
];

const FORMS: (Case & { answer: unknown })[] = [
  { when: "one parameter", code: "def handler(event): return 1", answer: 1 },
  { when: "a name without a dot", code: "def handler(event): return 2", handler: "handler", answer: 2 },
  {
    when: "another file and function",
    code: "def main(event): return __file__ + __name__",
    handler: "my-app.main",
    answer: "my-app.pymy-app",
  },
  {
    when: "a file in a folder",
    code: "def main(event): return [__file__, __name__]",
    handler: "lib/app.main",
    answer: ["lib/app.py", "app"],
  },
  { when: "a method", code: "class Api:\n  def run(self, event): return 3\napi = Api()", handler: "handler.api.run", answer: 3 },
  { when: "a static method", code: "class Api:\n  @staticmethod\n  def run(event): return 4", handler: "handler.Api.run", answer: 4 },
  { when: "a callable object", code: "class Api:\n  def __call__(self, event, context): return 5\nhandler = Api()", answer: 5 },
  {
    when: "a partial function",
    code: "import functools\ndef add(a, event): return a\nhandler = functools.partial(add, 6)",
    answer: 6,
  },
  {
    when: "a decorated function of one parameter",
    code: "import functools\ndef wrap(f):\n  @functools.wraps(f)\n  def inner(*a, **k): return f(*a, **k)\n  return inner\n@wrap\ndef handler(event): return 7",
    answer: 7,
  },
  {
    when: "a decorator that takes less than what it wraps",
    code: "import functools\ndef wrap(f):\n  @functools.wraps(f)\n  def inner(event): return f(event, 8)\n  return inner\n@wrap\ndef handler(event, number): return number",
    answer: 8,
  },
  { when: "any number of arguments", code: "def handler(*arguments): return len(arguments)", answer: 2 },
  { when: "a second parameter with a default", code: "def handler(event, context=None): return context is not None", answer: true },
  { when: "a built-in function", code: "handler = len", answer: 9 },
  { when: "an async function that waits for nothing", code: "async def handler(event): return 9", answer: 9 },
  {
    when: "an async function that imports asyncio when it runs",
    code: "async def handler(event):\n  import asyncio\n  await asyncio.sleep(0.001)\n  return 10",
    answer: 10,
  },
  {
    when: "an awaitable of its own that suspends",
    code: "class Wait:\n  def __await__(self):\n    yield\n    return 11\nasync def handler(event): return await Wait()",
    answer: 11,
  },
  {
    when: "a function that returns a coroutine",
    code: "import asyncio\nasync def inner():\n  await asyncio.sleep(0.001)\n  return 12\ndef handler(event): return inner()",
    answer: 12,
  },
  {
    when: "a module with the name of one in the library",
    code: "import json\ndef handler(event): return json.loads('13')",
    handler: "json.handler",
    answer: 13,
  },
  {
    when: "classes that are looked up by their module",
    code: "import dataclasses, pickle, inspect\n@dataclasses.dataclass\nclass Point:\n  x: int\ndef handler(event): return [pickle.loads(pickle.dumps(Point(14))).x, inspect.getsource(handler)[:3]]",
    answer: [14, "def"],
  },
  { when: "an encoding cookie, which says nothing", code: "# coding: latin-1\ndef handler(event): return 'é'", answer: "é" },
  { when: "a byte order mark", code: "\ufeffdef handler(event): return 15", answer: 15 },
  { when: "the main module's name", code: "if __name__ == '__main__': raise Exception()\ndef handler(event): return 16", answer: 16 },
  { when: "exit, which the module site defines elsewhere", code: "def handler(event): return callable(exit)", answer: true },
];

const READ_FRAMES = `
import base64, json, sys
sys.path.insert(0, sys.argv[1])
from ks_replica.frames import Decoder, MORE, ProtocolError, encode_frame

def read(hexes, step):
    decoder, data, found = Decoder(), bytes.fromhex(hexes), []
    for at in range(0, len(data), step):
        for stream, kind, meta, body in decoder.feed(data[at : at + step]):
            found.append({"stream": stream, "kind": kind & ~MORE, "more": kind >= MORE, "meta": meta, "bodyBase64": base64.b64encode(body).decode()})
    return found

def refuses(hexes):
    try:
        read(hexes, 1 << 20)
    except ProtocolError:
        return True
    return False

vectors = json.load(sys.stdin)
frames = [v["frame"] for v in vectors["frames"]]
whole = "".join(v["hex"] for v in vectors["frames"])
print(json.dumps({
    "read": [read(whole, step) for step in (1, 3, 7, 64, 1000, 1 << 20)],
    "written": "".join(encode_frame(f["stream"], f["kind"] | (MORE if f["more"] else 0), f["metaText"].encode(), base64.b64decode(f["bodyBase64"])).hex() for f in frames),
    "refused": [v["name"] for v in vectors["malformed"] if refuses(v["hex"])],
}))
`;

for (const python of PYTHONS) {
  describe(`loading on ${python.name}`, { skip: python.missing ?? false }, () => {
    const shims: Shim[] = [];
    after(() => Promise.all(shims.map((shim) => shim.stop())));

    const load = async (specialisation: Partial<Specialisation> & { code: string }): Promise<{ shim: Shim; frame: ShimFrame }> => {
      const shim = await python.start(specialisation.code);
      shims.push(shim);
      return { shim, frame: await shim.specialise({ handler: "handler.handler", concurrency: 1, ...specialisation }) };
    };

    for (const { when, code, handler, reason, message } of FAILURES) {
      test(`fails when ${when}`, async () => {
        const { shim, frame } = await load({ code, handler: handler ?? "handler.handler" });
        assert.equal(frame.kind, FrameType.FAILED);
        assert.equal(frame.meta["reason"], reason);
        assert.match(String(frame.meta["message"]), message);
        assert.deepEqual(await shim.exited, { code: 1, signal: null });
      });
    }

    for (const { when, code, handler, answer } of FORMS) {
      test(`runs ${when}`, async () => {
        const { shim, frame } = await load({ code, handler: handler ?? "handler.handler" });
        assert.equal(frame.kind, FrameType.READY, JSON.stringify(frame.meta));
        const { head, body, error } = await shim.call("[1]", { query: {} });
        assert.equal(head?.kind, 200, JSON.stringify(error));
        assert.deepEqual(head.meta["kind"] === "text" ? body.toString() : JSON.parse(body.toString()), answer);
        await shim.stop();
      });
    }

    test("says its version, and READY before the call that came with SPECIALISE", async () => {
      const code = "import time\ntime.sleep(0.05)\ndef handler(event): return 1";
      const shim = await python.start(code);
      shims.push(shim);
      const { meta } = await shim.hello();
      assert.match(String(meta["version"]), new RegExp(`^${python.name === "python39" ? "3.9" : "3.11"}\\.`));
      shim.sendSpecialise({ code, handler: "handler.handler", concurrency: 1 });
      await shim.call();
      assert.deepEqual(
        shim.frames.map(({ kind }) => kind),
        [FrameType.HELLO, FrameType.READY, 200],
      );
      assert.ok(Number(shim.frames[1]?.meta["loadMs"]) >= 50);
    });

    test("gives the function its environment, also to what it starts, and its time zone", async () => {
      const code =
        "import os, subprocess, time\ndef handler(event):\n  printed = subprocess.run(['/usr/bin/env'], capture_output=True, text=True).stdout\n" +
        "  return {'own': dict(os.environ), 'child': sorted(printed.split()), 'zone': time.localtime(0).tm_hour}";
      const { shim } = await load({ code, environment: { A: "b", TZ: "Asia/Tokyo", HOME: "/elsewhere" } });
      const { own, child, zone } = JSON.parse((await shim.call()).body.toString());
      assert.deepEqual(own, { A: "b", PATH: "/usr/bin:/bin", HOME: "/tmp", LANG: "C.UTF-8", TZ: "Asia/Tokyo" });
      assert.deepEqual(child, ["A=b", "HOME=/tmp", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TZ=Asia/Tokyo"]);
      assert.equal(zone, 9);
    });

    test("fails for an environment that no process can have, naming the variable", async () => {
      const { frame } = await load({ code: "def handler(event): pass", environment: { GOOD: "x", BAD: "\0" } });
      assert.equal(frame.meta["reason"], "LoadError");
      assert.match(String(frame.meta["message"]), /^ValueError: the environment variable BAD cannot be set/);
    });

    test("logs what is printed while loading", async () => {
      const { shim } = await load({ code: "print('one')\nprint('two', end='')\ndef handler(event): pass" });
      assert.deepEqual(
        shim.logLines().map(({ requestId, text }) => [requestId, text]),
        [
          [undefined, "one"],
          [undefined, "two"],
        ],
      );
    });

    test("finds none of the shim's own modules", async () => {
      const { frame } = await load({ code: "import main\n" });
      assert.equal(frame.meta["reason"], "ModuleNotFound");
    });

    test("reads, writes and refuses the frames of the vectors", () => playFrames(python));
  });
}

function playFrames(python: Python): void {
  const text = readFileSync(VECTORS, "utf8");
  const vectors = JSON.parse(text) as { frames: { hex: string; frame: { metaText?: string } }[]; malformed: { name: string }[] };
  const { read, written, refused } = JSON.parse(runPython(python.program, READ_FRAMES, text));
  const expected = vectors.frames.map(({ frame }) => {
    const { metaText: _, ...rest } = frame;
    return rest;
  });
  for (const found of read) assert.deepEqual(found, expected);
  assert.equal(written, vectors.frames.map(({ hex }) => hex).join(""));
  assert.deepEqual(
    refused,
    vectors.malformed.map(({ name }) => name),
  );
}
