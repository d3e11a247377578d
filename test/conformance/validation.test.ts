import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Answer } from "./support/client.ts";
import { completeWish, openPlatform, uniqueName, uniquePath } from "./support/platform.ts";

const platform = await openPlatform();

const GOOD = { code: "exports.handler = () => 1;" };
const MIB = 1024 * 1024;

/** Asserts the documented 400 that names these places of the body, and that nothing came of it. */
async function assertRefused(answer: Answer, paths: readonly string[]): Promise<void> {
  assert.equal(answer.status, 400, answer.text);
  const { error, code, requestId, details } = answer.json;
  assert.deepEqual([error, code], ["Invalid request body", "INVALID_REQUEST"]);
  assert.equal(requestId, answer.headers["x-request-id"]);
  const named = new Set((details as { path: string; message: string }[]).map(({ path }) => path));
  assert.deepEqual([...named].sort(), [...paths].sort(), answer.text);
  for (const { message } of details) assert.ok(message.length > 5, answer.text);
}

function http(path: string, methods?: unknown): object {
  return { triggers: [{ type: "http", config: methods === undefined ? { path } : { path, methods } }] };
}

function cron(schedule: string, rest: object = {}): object {
  return { triggers: [{ type: "cron", config: { schedule, ...rest } }] };
}

function queue(config: object): object {
  return { triggers: [{ type: "queue", config }] };
}

describe("a body that is no function", { concurrency: 8 }, () => {
  const BODIES: [string, string | Buffer][] = [
    ["malformed JSON", '{"name": "x",}'],
    ["half of it", '{"name": "x"'],
    ["nothing at all", ""],
    ["NaN", '{"name": NaN}'],
    ["a list", "[]"],
    ["a string", '"text"'],
    ["null", "null"],
    ["a byte order mark", '\uFEFF{"name":"x"}'],
    ["no UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["600 levels", `${'{"a":'.repeat(600)}1${"}".repeat(600)}`],
  ];
  for (const [what, body] of BODIES) {
    test(`(${what}) is refused`, async () => {
      await assertRefused(await platform.control("POST", "/functions", body, { "content-type": "application/json" }), [""]);
    });
  }

  test("lists every problem at once", async () => {
    const answer = await platform.control("POST", "/functions", { name: "UPPER", runtime: "cobol", minReplicas: -1, color: "red" });
    await assertRefused(answer, ["name", "runtime", "handler", "code", "minReplicas", "color"]);
  });

  test("may not come as another type than JSON", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]) {
      const answer = await platform.control("POST", "/functions", JSON.stringify(completeWish(GOOD)), { "content-type": type });
      assert.deepEqual([answer.status, answer.json.code], [415, "UNSUPPORTED_MEDIA_TYPE"], type);
    }
  });

  test("may not come compressed", async () => {
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    const answer = await platform.control("POST", "/functions", JSON.stringify(completeWish(GOOD)), headers);
    assert.deepEqual([answer.status, answer.json.code], [415, "UNSUPPORTED_MEDIA_TYPE"]);
  });

  test("is no secret of one method: PUT refuses the same", async () => {
    const name = await platform.deploy(GOOD);
    await assertRefused(await platform.put(name, { ...GOOD, memory: 1 }), ["memory"]);
  });
});

describe("a field that is wrong", { concurrency: 8 }, () => {
  const CASES: [string, object, string][] = [
    ["name: upper case", { name: "Hello" }, "name"],
    ["name: ../", { name: "../etc" }, "name"],
    ["name: a slash", { name: "a/b" }, "name"],
    ["name: a dot", { name: "a.b" }, "name"],
    ["name: empty", { name: "" }, "name"],
    ["name: 51 characters", { name: "a".repeat(51) }, "name"],
    ["name: a digit first", { name: "1a" }, "name"],
    ["name: a dash last", { name: "a-" }, "name"],
    ["name: the platform's prefix", { name: "kube-x" }, "name"],
    ["name: a line break last", { name: "abc\n" }, "name"],
    ["name: not ASCII", { name: "фн" }, "name"],
    ["name: a number", { name: 5 }, "name"],
    ["name: __proto__", { name: "__proto__" }, "name"],
    ["runtime: unknown", { runtime: "ruby31" }, "runtime"],
    ["runtime: a number", { runtime: 18 }, "runtime"],
    ["handler: empty", { handler: "" }, "handler"],
    ["handler: no export", { handler: "index" }, "handler"],
    ["handler: ..", { handler: "../index.handler" }, "handler"],
    ["handler: two dots", { handler: "index..handler" }, "handler"],
    ["handler: code", { handler: "index.handler;process.exit()" }, "handler"],
    ["handler: a list", { handler: ["index.handler"] }, "handler"],
    ["code: empty", { code: "" }, "code"],
    ["code: a number", { code: 1 }, "code"],
    ["code: 1 MiB and a byte", { code: `//${"x".repeat(MIB - 1)}` }, "code"],
    ["code: 1 MiB and a byte, of Cyrillic", { code: `//${"ж".repeat(MIB / 2 - 1)}x` }, "code"],
    ["code: half a surrogate pair", { code: "// \uD800" }, "code"],
    ["minReplicas above maxReplicas", { minReplicas: 3, maxReplicas: 2 }, "minReplicas"],
    ["minReplicas above the default maxReplicas", { minReplicas: 11 }, "minReplicas"],
    ["minReplicas: negative", { minReplicas: -1 }, "minReplicas"],
    ["minReplicas: a half", { minReplicas: 0.5 }, "minReplicas"],
    ["minReplicas: text", { minReplicas: "1" }, "minReplicas"],
    ["maxReplicas: zero", { maxReplicas: 0 }, "maxReplicas"],
    ["maxReplicas: null", { maxReplicas: null }, "maxReplicas"],
    ["timeout: zero", { timeout: 0 }, "timeout"],
    ["timeout: 901", { timeout: 901 }, "timeout"],
    ["memory: 63", { memory: 63 }, "memory"],
    ["memory: 10241", { memory: 10_241 }, "memory"],
    ["concurrency: zero", { concurrency: 0 }, "concurrency"],
    ["network: unknown", { network: "inbound" }, "network"],
    ["environment: a list", { environment: [] }, "environment"],
    ["environment: a number", { environment: { A: 1 } }, "environment.A"],
    ["environment: a bad name", { environment: { "1A": "x" } }, 'environment["1A"]'],
    ["environment: a name with =", { environment: { "A=B": "x" } }, 'environment["A=B"]'],
    ["environment: NUL", { environment: { A: "x\0y" } }, "environment.A"],
    ["environment: LD_PRELOAD", { environment: { LD_PRELOAD: "/x.so" } }, "environment.LD_PRELOAD"],
    ["environment: NODE_OPTIONS", { environment: { NODE_OPTIONS: "--inspect" } }, "environment.NODE_OPTIONS"],
    ["environment: PYTHONPATH", { environment: { PYTHONPATH: "/x" } }, "environment.PYTHONPATH"],
    ["environment: GODEBUG", { environment: { GODEBUG: "x=1" } }, "environment.GODEBUG"],
    ["environment: 129 entries", { environment: Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`V${i}`, ""])) }, "environment"],
    ["environment: over 64 KiB", { environment: { A: "x".repeat(65_536) } }, "environment"],
    ["an unknown field", { minReplica: 1 }, "minReplica"],
    ["triggers: an object", { triggers: {} }, "triggers"],
    [
      "triggers: 33",
      { triggers: Array.from({ length: 33 }, (_, i) => ({ type: "http", config: { path: `/too-many/${i}` } })) },
      "triggers",
    ],
    ["triggers: an unknown type", { triggers: [{ type: "mail", config: {} }] }, "triggers[0].type"],
    ["triggers: no config", { triggers: [{ type: "http" }] }, "triggers[0].config"],
    ["triggers: an unknown field", { triggers: [{ type: "http", config: { path: "/x", paths: [] } }] }, "triggers[0].config.paths"],
    ["path: relative", http("x"), "triggers[0].config.path"],
    ["path: empty", http(""), "triggers[0].config.path"],
    ["path: //", http("/a//b"), "triggers[0].config.path"],
    ["path: ..", http("/a/../b"), "triggers[0].config.path"],
    ["path: encoded ..", http("/a/%2e%2E/b"), "triggers[0].config.path"],
    ["path: bad encoding", http("/a/%zz"), "triggers[0].config.path"],
    ["path: no UTF-8", http("/a/%ff"), "triggers[0].config.path"],
    ["path: an encoded slash", http("/a%2Fb"), "triggers[0].config.path"],
    ["path: a query", http("/a?b"), "triggers[0].config.path"],
    ["path: * within", http("/a/*/b"), "triggers[0].config.path"],
    ["path: a parameter without a name", http("/a/:"), "triggers[0].config.path"],
    ["path: a parameter with a dash", http("/a/:b-c"), "triggers[0].config.path"],
    ["path: a parameter twice", http("/:a/:a"), "triggers[0].config.path"],
    ["methods: unknown", http("/a", ["FETCH"]), "triggers[0].config.methods[0]"],
    ["methods: none", http("/a", []), "triggers[0].config.methods"],
    ["schedule: minute 61", cron("61 * * * *"), "triggers[0].config.schedule"],
    ["schedule: three fields", cron("* * *"), "triggers[0].config.schedule"],
    ["schedule: seven fields", cron("* * * * * * *"), "triggers[0].config.schedule"],
    ["schedule: never", cron("0 0 30 2 *"), "triggers[0].config.schedule"],
    ["schedule: a date", cron("2030-01-01T00:00:00"), "triggers[0].config.schedule"],
    ["schedule: words", cron("every five minutes please now"), "triggers[0].config.schedule"],
    ["schedule: an unknown nickname", cron("@sometimes"), "triggers[0].config.schedule"],
    ["schedule: empty", cron(""), "triggers[0].config.schedule"],
    ["timezone: unknown", cron("* * * * *", { timezone: "Mars/Olympus" }), "triggers[0].config.timezone"],
    ["overlap: unknown", cron("* * * * *", { overlap: "maybe" }), "triggers[0].config.overlap"],
    ["missed: unknown", cron("* * * * *", { missed: "all" }), "triggers[0].config.missed"],
    ["queue: empty", queue({ queue: "" }), "triggers[0].config.queue"],
    ["queue: the broker's prefix", queue({ queue: "amq.x" }), "triggers[0].config.queue"],
    ["queue: control characters", queue({ queue: "a\nb" }), "triggers[0].config.queue"],
    ["queue: no attempts", queue({ queue: "a", maxAttempts: 0 }), "triggers[0].config.maxAttempts"],
    ["the same trigger twice", { triggers: [cron("@hourly"), cron("@hourly")].flatMap((one) => Object.values(one).flat()) }, "triggers[1]"],
  ];
  for (const [what, change, path] of CASES) {
    test(`(${what}) is named`, async () => {
      const answer = await platform.create({ ...GOOD, ...change });
      await assertRefused(answer, [path]);
    });
  }

  for (const segment of ["api", "health", "ready", "metrics", "openapi.json", "docs", "console", "fn"]) {
    test(`(path: the platform's own /${segment}) is named, however it is written`, async () => {
      const encoded = `%${segment.charCodeAt(0).toString(16)}${segment.slice(1)}`;
      for (const path of [`/${segment}`, `/${segment}/x`, `/${encoded}`, `/${segment}/*`]) {
        await assertRefused(await platform.create({ ...GOOD, ...http(path) }), ["triggers[0].config.path"]);
      }
    });
  }

  test("and its neighbours that are just right are not", async () => {
    const wishes = [
      { name: `${uniqueName("b")}${"x".repeat(50)}`.slice(0, 50) },
      { code: `exports.handler = () => 1; //${"x".repeat(MIB - 29)}` },
      { code: `exports.handler = () => 1; //${"ж".repeat((MIB - 30) / 2)}` },
      { minReplicas: 0, maxReplicas: 1000, timeout: 900, memory: 64, concurrency: 1000, network: "none" },
      { environment: Object.fromEntries(Array.from({ length: 128 }, (_, i) => [`V${i}`, "é"])) },
      cron("0 0 29 2 *", { timezone: "Europe/Kyiv", overlap: "skip", missed: "once", body: { any: [1] } }),
      cron("@monthly"),
      cron("0 0 0 1 1 *"),
      http(`${uniquePath()}/%41:b/:id_1/*`),
    ];
    for (const wish of wishes) {
      const answer = await platform.create({ ...GOOD, ...wish });
      assert.equal(answer.status, 201, `${JSON.stringify(wish).slice(0, 200)}: ${answer.text}`);
      assert.equal((await platform.settled(answer.name)).state, "running");
      await platform.delete(answer.name);
    }
  });

  test("(1 MiB of Cyrillic, escaped as requests does) still fits", async () => {
    const code = `exports.handler = () => 1; //${"ж".repeat((MIB - 30) / 2)}`;
    const body = JSON.stringify(completeWish({ code })).replaceAll("ж", "\\u0436");
    assert.ok(body.length > 3 * MIB - 1000);
    const answer = await platform.control("POST", "/functions", body, { "content-type": "application/json" });
    assert.equal(answer.status, 201);
    await platform.settled(answer.json.name);
    await platform.delete(answer.json.name);
  });
});

describe("code that cannot serve", { concurrency: 5 }, () => {
  const CASES: { what: string; runtime: string; code: string; handler?: string; message: RegExp; reason?: RegExp }[] = [
    {
      what: "a syntax error in CommonJS",
      runtime: "nodejs18",
      code: "const a = 1;\nexports.handler = () => {\n  return a +;\n};\n",
      message: /^SyntaxError: Unexpected token ';'[^]*index\.js:3|^SyntaxError[^]*index\.js:3[^]*Unexpected token/,
    },
    {
      what: "a syntax error in an ES module",
      runtime: "nodejs18",
      code: "const a = 1;\nexport const handler = () => {\n  return a +;\n};\n",
      message: /^SyntaxError[^]*index\.mjs:3/,
    },
    {
      what: "a syntax error in Python",
      runtime: "python39",
      code: "a = 1\ndef handler(event):\n    return a +\n",
      message: /^SyntaxError: invalid syntax[^]*handler\.py[^]*3/,
    },
    {
      what: "a syntax error in Go",
      runtime: "go119",
      code: "package f\n\nfunc Handler(event any) (any, error) {\n\treturn 1 +, nil\n}\n",
      message: /\.go:4:\d+: syntax error/,
    },
    {
      what: "a type error in Go",
      runtime: "go119",
      code: 'package f\n\nfunc Handler(event any) (any, error) {\n\tvar n int = "text"\n\treturn n, nil\n}\n',
      message: /\.go:4:\d+: cannot use "text"/,
    },
    { what: "no such export", runtime: "nodejs18", code: "exports.other = () => 1;", message: /handler/ },
    { what: "an export that is no function", runtime: "nodejs18", code: "exports.handler = 5;", message: /handler/ },
    { what: "no such export of an ES module", runtime: "nodejs18", code: "export const other = () => 1;", message: /handler/ },
    { what: "no such Python function", runtime: "python39", code: "def other(event): ...\n", message: /handler/ },
    { what: "no such Go function", runtime: "go119", code: "package f\n\nfunc Other() {}\n", message: /Handler/ },
    { what: "a Go function of no known form", runtime: "go119", code: "package f\n\nfunc Handler(a, b, c int) {}\n", message: /Handler/ },
    { what: "a missing package", runtime: "nodejs18", code: "require('left-pad');", message: /left-pad/ },
    {
      what: "a missing package of an ES module",
      runtime: "nodejs18",
      code: "import pad from 'left-pad';\nexport const handler = pad;",
      message: /left-pad/,
    },
    { what: "a missing Python module", runtime: "python39", code: "import left_pad\n", message: /^ModuleNotFoundError: [^]*left_pad/ },
    {
      what: "a missing Go package",
      runtime: "go119",
      code: 'package f\n\nimport _ "example.com/left/pad"\n\nfunc Handler(e any) (any, error) { return 1, nil }\n',
      message: /example\.com\/left\/pad/,
    },
    { what: "a throw at load", runtime: "nodejs18", code: "\nthrow new TypeError('no luck');", message: /^TypeError: no luck/ },
    { what: "a raise at load", runtime: "python39", code: "\nraise ValueError('no luck')\n", message: /^ValueError: no luck/ },
    {
      what: "a panic at load",
      runtime: "go119",
      code: 'package f\n\nvar a = func() int { panic("no luck, біда") }()\n\nfunc Handler(e any) (any, error) { return a, nil }\n',
      message: /no luck, біда/,
    },
    { what: "an exit at load", runtime: "nodejs18", code: "process.exit(3);", message: /exit/ },
    { what: "an exit of Python at load", runtime: "python39", code: "import os\nos._exit(3)\n", message: /exit|ended/ },
  ];
  for (const { what, message, ...wish } of CASES) {
    test(`(${what}) fails, says why, and calls are told so`, async () => {
      const { name } = await platform.create(wish);
      const status = await platform.settled(name);
      assert.equal(status.state, "failed");
      assert.match(String(status.message), message);
      assert.match(String(status.reason), /^[A-Za-z]+$/);
      const called = await platform.invoke(name);
      assert.deepEqual([called.status, called.json.code], [502, "FUNCTION_FAILED"]);
      assert.match(called.json.error, message.source.startsWith("^") ? /Error/ : message);
    });
  }

  for (const [runtime, code] of [
    ["nodejs18", "while (true);"],
    ["nodejs18", "await new Promise(() => setInterval(() => undefined, 1000)); export const handler = () => 1;"],
    ["python39", "while True:\n    pass\n"],
    ["go119", "package f\n\nvar a = func() int { for { } }()\n\nfunc Handler(e any) (any, error) { return a, nil }\n"],
  ] as const) {
    test(`(never loaded, ${runtime}: ${code.slice(0, 9)}…) fails with LoadTimeout after 10 s`, async () => {
      const { name } = await platform.create({ runtime, code });
      const startMs = performance.now();
      const status = await platform.settled(name);
      assert.deepEqual([status.state, status.reason], ["failed", "LoadTimeout"]);
      assert.match(String(status.message), /10 s/);
      assert.ok(performance.now() - startMs > 8000);
      assert.equal((await platform.invoke(name)).status, 502);
    });
  }
});

describe("a runtime that the platform lacks", () => {
  test("is refused with how to install it", async (t) => {
    const known = (await platform.get("/runtimes")).json as { name: string }[];
    const lacking = ["nodejs26", "python313", "go150"].find((name) => !known.some((one) => one.name === name));
    if (lacking === undefined) return t.skip("the platform has every runtime that the test would ask for");
    const answer = await platform.create({ ...GOOD, runtime: lacking, handler: lacking === "go150" ? "Handler" : "index.handler" });
    await assertRefused(answer, ["runtime"]);
    assert.match(answer.text, /Install (Node\.js|Python|Go) \d|Enable the runtime \S+ in the chart's values/);
  });

  test("is not among those that are listed", async () => {
    const { status, json } = await platform.get("/runtimes");
    assert.equal(status, 200);
    for (const runtime of json)
      assert.deepEqual(Object.keys(runtime).sort(), ["available", "exact", "hint", "language", "name", "version"]);
    for (const name of ["nodejs18", "python39", "go119"])
      assert.ok(
        json.some((one: { name: string }) => one.name === name),
        name,
      );
  });
});

describe("a query that is wrong", { concurrency: 8 }, () => {
  for (const query of ["limit=0", "limit=-1", "limit=x", "limit=100000", "cursor=%F0%9F%92%A9", "limit=1.5"]) {
    test(`(${query}) of the list is refused`, async () => {
      assert.equal((await platform.get(`/functions?${query}`)).status, 400);
    });
  }
  test("of logs is refused", async () => {
    const name = await platform.deploy(GOOD);
    for (const query of ["tail=x", "tail=-1", "since=yesterday", "follow=maybe"]) {
      const answer = await platform.get(`/functions/${name}/logs?${query}`);
      assert.deepEqual([answer.status, answer.json.code], [400, "BAD_REQUEST"], query);
    }
  });
});

describe("a path that is wrong", { concurrency: 8 }, () => {
  const CASES: [string, number, string][] = [
    ["/api/v1/functions/%zz", 400, "BAD_REQUEST"],
    ["/api/v1/functions/%ff", 400, "BAD_REQUEST"],
    ["/api/v1/functions/../functions", 400, "BAD_REQUEST"],
    ["/api/v1/./functions", 400, "BAD_REQUEST"],
    ["/api/v1/functions/%2e%2e", 400, "BAD_REQUEST"],
    ["/api/v1//functions", 400, "BAD_REQUEST"],
    ["//api/v1/functions", 400, "BAD_REQUEST"],
    ["/api/v1/functions/", 404, "ROUTE_NOT_FOUND"],
    ["/API/v1/functions", 404, "ROUTE_NOT_FOUND"],
    ["/api/v1/Functions", 404, "ROUTE_NOT_FOUND"],
    ["/api/v2/functions", 404, "ROUTE_NOT_FOUND"],
    ["/api/v1/functions/a%2Fb", 404, "FUNCTION_NOT_FOUND"],
    ["/api/v1/functions/__proto__", 404, "FUNCTION_NOT_FOUND"],
    ["/api/v1/functions/constructor", 404, "FUNCTION_NOT_FOUND"],
    ["/fn", 404, "ROUTE_NOT_FOUND"],
    ["/fn/", 404, "ROUTE_NOT_FOUND"],
    ["/fn/absent-of-all", 404, "FUNCTION_NOT_FOUND"],
    ["/health/", 404, "ROUTE_NOT_FOUND"],
    ["/nothing-is-here", 404, "ROUTE_NOT_FOUND"],
    [`/api/v1/functions/${"x".repeat(5000)}`, 404, "FUNCTION_NOT_FOUND"],
  ];
  for (const [path, status, code] of CASES) {
    test(`(${path.slice(0, 60)}) is told as ${code}`, async () => {
      const answer = await platform.send({ path });
      assert.deepEqual([answer.status, answer.json.code], [status, code], answer.text);
      assert.equal(answer.json.requestId, answer.headers["x-request-id"]);
    });
  }

  test("by its method gets 405 with Allow", async () => {
    const name = await platform.deploy(GOOD);
    for (const [method, path, allow] of [
      ["PATCH", "/functions", ["GET", "HEAD", "POST"]],
      ["POST", `/functions/${name}`, ["DELETE", "GET", "HEAD", "PUT"]],
      ["GET", `/functions/${name}/invoke`, ["POST"]],
      ["DELETE", `/functions/${name}/metrics`, ["GET", "HEAD"]],
      ["DELETE", "/health", ["GET", "HEAD"]],
    ] as const) {
      const answer = await platform.control(method, path);
      assert.deepEqual([answer.status, answer.json.code], [405, "METHOD_NOT_ALLOWED"], path);
      assert.deepEqual(String(answer.headers.allow).split(/,\s*/).sort(), allow);
    }
  });
});
