import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Answer } from "./support/client.ts";
import { openPlatform } from "./support/platform.ts";
import { Bystander } from "./support/unharmed.ts";

const platform = await openPlatform();
const bystander = new Bystander(platform);
before(() => bystander.deploy());

function assertCode(answer: Answer, status: number, code: string, message: RegExp = /./): void {
  assert.deepEqual([answer.status, answer.json.code], [status, code], answer.text);
  assert.match(answer.json.error, message);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const RETURNS = `
const cycle = {}; cycle.self = cycle;
let deep = []; for (let i = 0; i < 100000; i++) deep = [deep];
class Order { constructor() { this.id = 7; } get total() { throw new Error('no total'); } }
const returns = {
  crlf: () => ({ statusCode: 200, headers: { 'x-a': 'a\\r\\nSet-Cookie: stolen=1' }, body: 'x' }),
  lf: () => ({ statusCode: 200, headers: { 'x-a': 'a\\nb' }, body: 'x' }),
  name: () => ({ statusCode: 200, headers: { 'x-a\\r\\nx-b': 'a' }, body: 'x' }),
  space: () => ({ statusCode: 200, headers: { 'x a': 'a' }, body: 'x' }),
  snow: () => ({ statusCode: 200, headers: { 'x-a': '☃' }, body: 'x' }),
  cookie: () => ({ statusCode: 200, cookies: ['a=1\\r\\nx-b: c'], body: 'x' }),
  head: () => ({ statusCode: 200, headers: { 'x-a': 'a'.repeat(40000) }, body: 'x' }),
  cycle: () => cycle, deep: () => deep, bigint: () => 1n, within: () => ({ a: 10n }),
  date: () => new Date(Date.UTC(2026, 0, 2)), dates: () => ({ at: new Date(Date.UTC(2026, 0, 2)) }), invalid: () => ({ at: new Date(NaN) }),
  map: () => new Map(), symbol: () => Symbol('s'), fn: () => () => 1, surrogate: () => 'a\\ud800b', surrogates: () => ({ a: '\\udc00' }),
  getter: () => ({ get a() { throw new RangeError('by getter'); } }), order: () => new Order(),
  tojson: () => ({ toJSON() { throw new RangeError('by toJSON'); } }), proxy: () => new Proxy({}, { ownKeys() { throw new RangeError('by proxy'); } }),
  thenable: () => ({ then(resolve) { resolve('kept promise'); resolve('again'); } }), proto: () => JSON.parse('{"__proto__": {"a": 1}}'),
  text: () => { throw 'just text'; }, nothing: () => { throw undefined; }, empty: () => { throw null; }, object: () => { throw { code: 7 }; },
  named: () => { const error = new Error('x'); Object.defineProperty(error, 'message', { get() { throw 1; } }); throw error; },
  long: () => { throw new Error('y'.repeat(5000000)); }, rejected: () => Promise.reject(new TypeError('rejected')),
  lines: () => { throw new Error('first\\r\\nX-Evil: second'); },
};
exports.handler = ({ body }) => returns[body.what]();
`;

describe("what a Node.js function returns or throws", { concurrency: 8 }, () => {
  let name = "";
  before(async () => {
    name = await platform.deploy({ code: RETURNS });
  });
  const invoke = (what: string): Promise<Answer> => platform.invoke(name, { what });
  const call = (what: string): Promise<Answer> => platform.call(name, "/", { method: "POST", body: { what } });

  for (const what of ["crlf", "lf", "name", "space", "snow", "cookie", "head"]) {
    test(`(header: ${what}) that HTTP cannot carry is an error that names it`, async () => {
      for (const answer of [await call(what), await invoke(what)]) {
        assertCode(answer, 500, "FUNCTION_ERROR", what === "head" ? /32 KiB|32768/ : what === "cookie" ? /set-cookie/i : /x.{0,3}a/);
        assert.equal(answer.headers["set-cookie"], undefined);
        assert.equal(answer.headers["x-b"], undefined);
      }
    });
  }

  for (const [what, message] of [
    ["cycle", /circular|cycle/i],
    ["deep", /deep|call stack/i],
    ["bigint", /BigInt/],
    ["within", /BigInt/],
    ["map", /Map/],
    ["symbol", /[Ss]ymbol/],
    ["fn", /function/],
    ["getter", /by getter/],
    ["tojson", /by toJSON/],
    ["proxy", /by proxy/],
    ["text", /^Internal server error: just text$/],
    ["nothing", /undefined/],
    ["empty", /null/],
    ["object", /7/],
    ["named", /./],
    ["rejected", /^Internal server error: rejected$/],
    ["lines", /first/],
  ] as const) {
    test(`(${what}) is an error that says so`, async () => {
      assertCode(await invoke(what), 500, "FUNCTION_ERROR", message);
      assertCode(await call(what), 500, "FUNCTION_ERROR", message);
    });
  }

  for (const [what, expected] of [
    ["date", "2026-01-02T00:00:00.000Z"],
    ["dates", { at: "2026-01-02T00:00:00.000Z" }],
    ["invalid", { at: null }],
    ["surrogate", "a\uFFFDb"],
    ["order", { id: 7 }],
    ["thenable", "kept promise"],
  ] as const) {
    test(`(${what}) is told as JSON would`, async () => {
      assert.deepEqual((await invoke(what)).json, { statusCode: 200, body: expected });
    });
  }

  test("(half a surrogate pair within JSON) stays JSON", async () => {
    assert.equal((await invoke("surrogates")).status, 200);
    assert.equal((await call("surrogates")).json.a.length, 1);
  });

  test("(5 MB of message) is cut", async () => {
    const answer = await invoke("long");
    assertCode(answer, 500, "FUNCTION_ERROR", /yyyy/);
    assert.ok(answer.bytes.length < 200_000, String(answer.bytes.length));
  });

  test("harms nobody", () => bystander.isUnharmed());
});

describe("text that is no UTF-8", () => {
  test("from Python is an error or comes with replacements, never half an answer", async () => {
    const name = await platform.deploy({ runtime: "python39", code: "def handler(event):\n    return 'a\\udc80b'\n" });
    const answer = await platform.call(name);
    if (answer.status === 200) assert.match(answer.text, /^a.+b$/);
    else assertCode(answer, 500, "FUNCTION_ERROR", /surrogate|UTF-8/i);
  });

  test("from Go comes with replacements or is an error", async () => {
    const code = 'package f\n\nfunc Handler(e map[string]any) (any, error) { return map[string]string{"a": "x\\xff\\xfey"}, nil }\n';
    const name = await platform.deploy({ runtime: "go119", code });
    const answer = await platform.invoke(name);
    if (answer.status === 200) assert.match(answer.json.body.a, /^x\uFFFD+y$/);
    else assertCode(answer, 500, "FUNCTION_ERROR", /UTF-8/);
  });
});

describe("a function that never returns", { concurrency: 4 }, () => {
  const CODES = {
    "nodejs18, waiting": { runtime: "nodejs18", code: "exports.handler = ({ body }) => (body.stay ? new Promise(() => {}) : 'left');" },
    "nodejs18, spinning": { runtime: "nodejs18", code: "exports.handler = ({ body }) => { while (body.stay); return 'left'; };" },
    "python39, sleeping": {
      runtime: "python39",
      code: "import time\ndef handler(event):\n    while event['body'].get('stay'):\n        time.sleep(0.1)\n    return 'left'\n",
    },
    "python39, spinning": {
      runtime: "python39",
      code: "def handler(event):\n    while event['body'].get('stay'):\n        pass\n    return 'left'\n",
    },
    "go119, blocked": {
      runtime: "go119",
      code: 'package f\n\nfunc Handler(e map[string]any) (any, error) {\n\tif e["body"].(map[string]any)["stay"] != nil {\n\t\tselect {}\n\t}\n\treturn "left", nil\n}\n',
    },
  };
  for (const [what, wish] of Object.entries(CODES)) {
    test(`(${what}) is told so after its timeout, and the next call is served`, async () => {
      const name = await platform.deploy({ ...wish, timeout: 1, maxReplicas: 2 });
      const startMs = performance.now();
      const answer = await platform.invoke(name, { stay: true });
      const tookMs = performance.now() - startMs;
      assertCode(answer, 504, "TIMEOUT", /1 s/);
      // By its own timeout and a slow start at the most, not by one of the platform's.
      assert.ok(tookMs > 950 && tookMs < 9500, String(tookMs));
      assert.equal((await platform.invoke(name, {})).json.body, "left");
      await bystander.isUnharmed();
    });
  }

  test("holding its event loop beside 50 other calls ends them at once, naming the cause", async () => {
    const code = `exports.handler = async ({ body: { waitMs, holds } }) => {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      while (holds);
      return 'done';
    };`;
    const name = await platform.deploy({ code, timeout: 3, maxReplicas: 1 });
    assert.equal((await platform.invoke(name, { waitMs: 0 })).json.body, "done");
    const holder = platform.invoke(name, { waitMs: 2500, holds: true });
    await sleep(2000);
    const startMs = performance.now();
    const others = Array.from({ length: 50 }, () => platform.invoke(name, { waitMs: 2800 }));
    assertCode(await holder, 504, "TIMEOUT");
    for (const answer of await Promise.all(others)) assertCode(answer, 502, "FUNCTION_CRASHED", /event loop/);
    assert.ok(performance.now() - startMs < 2900, "the others had to wait for their own timeouts");
    assert.equal((await platform.invoke(name, { waitMs: 0 })).json.body, "done");
    await bystander.isUnharmed();
  });
});

describe("a function that ends its process", { concurrency: 4 }, () => {
  const CODES: Record<string, { runtime: string; code: string; message?: RegExp }> = {
    "nodejs18 exit": { runtime: "nodejs18", code: "exports.handler = ({ body }) => (body.end ? process.exit(3) : 'alive');", message: /3/ },
    "nodejs18 abort": { runtime: "nodejs18", code: "exports.handler = ({ body }) => (body.end ? process.abort() : 'alive');" },
    "nodejs18 kill": {
      runtime: "nodejs18",
      code: "exports.handler = ({ body }) => (body.end ? new Promise(() => process.kill(process.pid, 'SIGKILL')) : 'alive');",
    },
    "nodejs18 uncaught": {
      runtime: "nodejs18",
      code: "exports.handler = ({ body }) => (body.end ? new Promise(() => setImmediate(() => { throw new Error('stray'); })) : 'alive');",
    },
    "nodejs18 unhandled": {
      runtime: "nodejs18",
      code: "exports.handler = ({ body }) => (body.end ? new Promise(() => { Promise.reject(new Error('stray')); }) : 'alive');",
    },
    "python39 exit": {
      runtime: "python39",
      code: "import os\ndef handler(event):\n    if event['body'].get('end'):\n        os._exit(3)\n    return 'alive'\n",
      message: /3/,
    },
    "python39 segfault": {
      runtime: "python39",
      code: "import os, signal\ndef handler(event):\n    if event['body'].get('end'):\n        os.kill(os.getpid(), signal.SIGSEGV)\n    return 'alive'\n",
    },
    "go119 exit": {
      runtime: "go119",
      code: 'package f\n\nimport "os"\n\nfunc Handler(e map[string]any) (any, error) {\n\tif e["body"].(map[string]any)["end"] != nil {\n\t\tos.Exit(3)\n\t}\n\treturn "alive", nil\n}\n',
      message: /3/,
    },
    "go119 panic beside": {
      runtime: "go119",
      code: 'package f\n\nfunc Handler(e map[string]any) (any, error) {\n\tif e["body"].(map[string]any)["end"] != nil {\n\t\tgo func() { panic("stray") }()\n\t\tselect {}\n\t}\n\treturn "alive", nil\n}\n',
    },
  };
  for (const [what, { message, ...wish }] of Object.entries(CODES)) {
    test(`(${what}) is 502, and the next call gets a new one`, async () => {
      const name = await platform.deploy(wish);
      assert.equal((await platform.invoke(name, {})).json.body, "alive");
      assertCode(await platform.invoke(name, { end: true }), 502, "FUNCTION_CRASHED", message);
      assert.equal((await platform.invoke(name, {})).json.body, "alive");
      await bystander.isUnharmed();
    });
  }

  test("ends every call within, once, and repeats none", async () => {
    const code = `const seen = []; exports.handler = async ({ body }) => {
      seen.push(body.id);
      if (body.id === 'end') { await new Promise((resolve) => setTimeout(resolve, 300)); process.exit(1); }
      await new Promise((resolve) => setTimeout(resolve, body.ms ?? 0));
      return seen;
    };`;
    const name = await platform.deploy({ code, maxReplicas: 1 });
    await platform.invoke(name, { id: "warm" });
    const calls = ["a", "b", "c"].map((id) => platform.invoke(name, { id, ms: 5000 }));
    await sleep(50);
    calls.push(platform.invoke(name, { id: "end" }));
    for (const answer of await Promise.all(calls)) assertCode(answer, 502, "FUNCTION_CRASHED");
    assert.deepEqual((await platform.invoke(name, { id: "after" })).json.body, ["after"]);
  });
});

describe("a function that needs more memory than it has", { concurrency: 2 }, () => {
  const CODES = {
    "nodejs18, outside the heap": {
      runtime: "nodejs18",
      code: "const kept = []; exports.handler = () => { for (;;) kept.push(Buffer.alloc(8 << 20, 1)); };",
    },
    "nodejs18, within the heap": {
      runtime: "nodejs18",
      code: "const kept = []; exports.handler = () => { for (;;) kept.push(new Array(1000).fill(kept.length)); };",
    },
    python39: { runtime: "python39", code: "kept = []\ndef handler(event):\n    while True:\n        kept.append(b'x' * (8 << 20))\n" },
    go119: {
      runtime: "go119",
      code: "package f\n\nvar kept [][]byte\n\nfunc Handler(e map[string]any) (any, error) {\n\tfor {\n\t\tpiece := make([]byte, 8<<20)\n\t\tfor i := range piece {\n\t\t\tpiece[i] = 1\n\t\t}\n\t\tkept = append(kept, piece)\n\t}\n}\n",
    },
  };
  for (const [what, wish] of Object.entries(CODES)) {
    test(`(${what}) is told limit and peak`, async () => {
      const name = await platform.deploy({ ...wish, memory: 128 });
      const answer = await platform.invoke(name);
      assertCode(answer, 502, "FUNCTION_OUT_OF_MEMORY", /limit is 128 MiB.*peak was \d+ MiB/);
      assert.equal(answer.json.details.limitMiB, 128);
      assert.ok(answer.json.details.peakMiB > 30 && answer.json.details.peakMiB < 400, answer.text);
      await bystander.isUnharmed();
    });
  }
});
