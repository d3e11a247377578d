import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KsError } from "./error.ts";
import { FunctionName } from "./name.ts";
import { parseFunctionSpec, type SpecChecks } from "./parse-function-spec.ts";
import type { Problem } from "./problem.ts";

const minimal = { name: "hello", runtime: "nodejs18", handler: "index.handler", code: "exports.handler = () => 1" };

/** What a body is refused for, as `path: message` lines. */
function problemsOf(input: unknown, checks?: SpecChecks): string[] {
  try {
    parseFunctionSpec(input, checks);
  } catch (error) {
    assert.ok(error instanceof KsError);
    assert.equal(error.code, "INVALID_REQUEST");
    assert.equal(error.message, "Invalid request body");
    return (error.details as Problem[]).map((problem) => `${problem.path}: ${problem.message}`);
  }
  return [];
}

function expectProblem(change: object, line: RegExp, checks?: SpecChecks): void {
  const lines = problemsOf({ ...minimal, ...change }, checks);
  assert.equal(lines.length, 1, lines.join("\n"));
  assert.match(lines[0] ?? "", line);
}

test("the documented example gets every default", () => {
  assert.deepEqual(parseFunctionSpec(minimal), {
    ...minimal,
    environment: {},
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [],
    timeout: 30,
    memory: 256,
    concurrency: 100,
    network: "outbound",
  });
  assert.equal(parseFunctionSpec({ ...minimal, runtime: "python39" }).concurrency, 1);
});

test("what reading gives beside the spec is ignored, anything else unknown is refused", () => {
  const read = { ...minimal, uid: "u", createdAt: "now", generation: 3, revision: 2, status: { state: "running" } };
  assert.equal(parseFunctionSpec(read).name, "hello");
  expectProblem({ minReplica: 1 }, /^minReplica: is not a known field; did you mean 'minReplicas'\?$/);
  const lines = problemsOf(JSON.parse(`{"__proto__": {}, ${JSON.stringify(minimal).slice(1)}`));
  assert.deepEqual(lines, ["__proto__: is not a known field"]);
});

test("every problem is listed at once, each by its path", () => {
  const lines = problemsOf(
    {
      name: "Hello",
      runtime: "nodejs17",
      code: "",
      minReplicas: 1.5,
      maxReplicas: "3",
      environment: { PATH: "/bin", LD_PRELOAD: "x", "a b": "y", OK: 5 },
      triggers: [{ type: "smoke" }, { type: "http", config: { path: "/api/x", verbs: [] } }, { type: "http", config: { path: "x" } }, 7],
      colour: "red",
    },
    { cron: () => undefined },
  );
  const paths = lines.map((line) => line.split(": ")[0]);
  assert.deepEqual(
    paths.toSorted((left = "", right = "") => left.localeCompare(right)),
    [
      "code",
      "colour",
      "environment.LD_PRELOAD",
      "environment.OK",
      'environment["a b"]',
      "handler",
      "maxReplicas",
      "minReplicas",
      "name",
      "runtime",
      "triggers[0].type",
      "triggers[1].config.verbs",
      "triggers[2].config.path",
      "triggers[3]",
    ],
  );
});

test("a body that is no object is one problem", () => {
  for (const input of [null, [], "x", 1, undefined]) assert.deepEqual(problemsOf(input), [": must be a JSON object"]);
});

test("the answer to very many problems stays small", () => {
  const unknown = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`field${index}`, 1]));
  assert.equal(problemsOf({ ...minimal, ...unknown }).length, 101);
});

test("handlers follow their language", () => {
  for (const handler of ["index.handler", "src/index.handler", "a-b.c_d.e"]) assert.deepEqual(problemsOf({ ...minimal, handler }), []);
  for (const runtime of ["python39", "go119"]) assert.deepEqual(problemsOf({ ...minimal, runtime, handler: "handler" }), []);
  expectProblem({ handler: "handler" }, /^handler: must name a file and its export, such as index\.handler/);
  for (const handler of ["../index.handler", "a..b", ".a", "a.", "a b.c", "a.b\n", "é.x", ""]) expectProblem({ handler }, /^handler: must/);
});

test("code is measured in bytes of UTF-8", () => {
  assert.deepEqual(problemsOf({ ...minimal, code: "é".repeat(512 * 1024) }), []);
  expectProblem({ code: `${"é".repeat(512 * 1024)}x` }, /^code: must be at most 1048576 bytes of UTF-8; it has 1048577$/);
  expectProblem({ code: "" }, /^code: must not be empty$/);
  expectProblem({ code: "\ud83d" }, /^code: must be well-formed Unicode/);
});

test("environments are bounded in entries, bytes and names", () => {
  const many = Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`V${index}`, ""]));
  expectProblem({ environment: many }, /^environment: must have at most 128 entries; it has 129$/);
  assert.deepEqual(problemsOf({ ...minimal, environment: { BIG: "x".repeat(65533) } }), []);
  expectProblem({ environment: { BIG: "x".repeat(65534) } }, /^environment: must be at most 65536 bytes together; it has 65537$/);
  expectProblem({ environment: { A: "a\0b" } }, /^environment\.A: must not have a NUL/);
  for (const name of ["LD_PRELOAD", "LD_LIBRARY_PATH", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "GODEBUG", "GOMAXPROCS"]) {
    expectProblem({ environment: { [name]: "x" } }, /is read when a process starts/);
  }
  expectProblem({ environment: JSON.parse('{"__proto__": "x"}') }, /^environment\.__proto__: cannot be used/);
  for (const name of ["", "1A", "A-B", "A=B", "A\nB"]) expectProblem({ environment: { [name]: "x" } }, /is not a name of letters/);
  assert.deepEqual(problemsOf({ ...minimal, environment: { NODE_ENV: "test", PATH: "/x", TZ: "UTC", GOOGLE: "1", _: "" } }), []);
});

test("numbers keep to their ranges", () => {
  expectProblem({ minReplicas: 11 }, /^minReplicas: must not be above maxReplicas \(10\)$/);
  expectProblem({ minReplicas: 3, maxReplicas: 2 }, /^minReplicas: must not be above maxReplicas \(2\)$/);
  expectProblem({ maxReplicas: 0 }, /^maxReplicas: must be at least 1$/);
  expectProblem({ timeout: 901 }, /^timeout: must be at most 900$/);
  expectProblem({ timeout: 0.5 }, /^timeout: must be at least 1$/);
  expectProblem({ memory: 63 }, /^memory: must be at least 64$/);
  expectProblem({ memory: 100.5 }, /^memory: must be a whole number$/);
  expectProblem({ concurrency: null }, /^concurrency: must be a number$/);
  expectProblem({ network: "all" }, /^network: must be one of outbound, none$/);
});

test("triggers are checked each and against each other", () => {
  const http = (path: string, methods?: string[]) => ({ type: "http", config: { path, ...(methods ? { methods } : {}) } });
  assert.deepEqual(problemsOf({ ...minimal, triggers: [http("/a/:x", ["GET"]), http("/a/:y", ["POST"])] }), []);
  expectProblem({ triggers: [http("/a/:x"), http("/a/:y", ["POST"])] }, /^triggers\[1\]: repeats triggers\[0\]$/);
  expectProblem({ triggers: [http("/a", ["get"])] }, /^triggers\[0\]\.config\.methods\[0\]: must be one of GET/);
  expectProblem({ triggers: Array.from({ length: 33 }, (_, index) => http(`/${index}`)) }, /^triggers: must have at most 32 entries$/);
  expectProblem({ triggers: [{ type: "smoke" }] }, /^triggers\[0\]\.type: must be one of http, cron, queue$/);
});

test("a schedule stands once, however it is spaced and its zone is said", () => {
  const cron = (...configs: object[]) => ({ triggers: configs.map((config) => ({ type: "cron", config })) });
  expectProblem(cron({ schedule: "0 7 * * *" }, { schedule: " 0  7 * * *", timezone: "UTC" }), /^triggers\[1\]: repeats triggers\[0\]$/);
  expectProblem(cron({ schedule: "@daily", body: 1 }, { schedule: "@daily", body: 2 }), /^triggers\[1\]: repeats triggers\[0\]$/);
  assert.deepEqual(problemsOf({ ...minimal, ...cron({ schedule: "0 7 * * *" }, { schedule: "0 7 * * *", timezone: "Europe/Kyiv" }) }), []);
});

test("a handler is checked beside a runtime that nobody knows", () => {
  const problems = problemsOf({ ...minimal, runtime: "nodejs17", handler: "../index.handler" });
  assert.deepEqual(
    problems.map((problem) => problem.split(":")[0]),
    ["runtime", "handler"],
  );
  assert.deepEqual(problemsOf({ ...minimal, runtime: "ruby", handler: "Handler" }).length, 1);
});

test("schedules are checked by who knows them, zones by their names", () => {
  const cron = (config: object) => ({ triggers: [{ type: "cron", config: { schedule: "* * * * *", ...config } }] });
  const seen: string[] = [];
  const checks: SpecChecks = { cron: (schedule, timezone) => (seen.push(`${schedule} ${timezone}`), "never comes") };
  expectProblem(cron({}), /^triggers\[0\]\.config\.schedule: never comes$/, checks);
  expectProblem(cron({ timezone: "Europe/Kyiv" }), /never comes/, checks);
  assert.deepEqual(seen, ["* * * * * UTC", "* * * * * Europe/Kyiv"]);
  for (const timezone of ["Mars/Olympus", "+02:00", "UTC+2"])
    expectProblem(cron({ timezone }), /^triggers\[0\]\.config\.timezone: is no time zone/);
  expectProblem(cron({ body: "x".repeat(300_000) }), /^triggers\[0\]\.config\.body: must be at most/);
  assert.deepEqual(parseFunctionSpec({ ...minimal, ...cron({ body: { a: [1] } }) }).triggers[0]?.config, {
    schedule: "* * * * *",
    body: { a: [1] },
  });
});

test("queue names are what AMQP and an address can carry", () => {
  const queue = (config: object) => ({ triggers: [{ type: "queue", config }] });
  assert.deepEqual(problemsOf({ ...minimal, ...queue({ queue: "function-queue", exchange: "function-triggers" }) }), []);
  expectProblem(queue({ queue: "amq.x" }), /config\.queue: must not begin with 'amq\.'/);
  expectProblem(queue({ queue: "a\nb" }), /config\.queue: must not have control/);
  expectProblem(queue({ queue: "é".repeat(101) }), /config\.queue: must be at most 200 bytes/);
  expectProblem(queue({ queue: ".." }), /config\.queue: must be a name/);
  expectProblem(queue({ exchange: "x" }), /config\.queue: is required/);
});

test("the name may be left out where the path gives it, and must not differ", () => {
  const { name: _, ...rest } = minimal;
  assert.equal(parseFunctionSpec(rest, { name: "hello" }).name, "hello");
  expectProblem({ name: "other" }, /^name: must be 'hello' as in the path/, { name: "hello" });
});

test("names are RFC 1035 labels of at most 50 characters that leave kube- alone", () => {
  const label = /^[a-z](?:[a-z0-9-]*[a-z0-9])?$/;
  const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("a", "b", "z", "0", "1", "9", "-"), maxLength: 60 }));
  fc.assert(
    fc.property(text, (name) => {
      const isRight = label.test(name) && name.length <= 50 && !name.startsWith("kube-");
      assert.equal(FunctionName.safeParse(name).success, isRight);
    }),
  );
  for (const name of ["a\n", "kube-x", "-a", "a-", "1a", "a".repeat(51)]) expectProblem({ name }, /^name: must/);
});

test("anything at all is either a spec or a list of problems", () => {
  const field = fc.constantFrom("name", "runtime", "handler", "code", "environment", "triggers", "minReplicas", "timeout", "x");
  fc.assert(
    fc.property(fc.dictionary(field, fc.jsonValue()), (change) => {
      problemsOf({ ...minimal, ...change }, { cron: () => undefined });
    }),
  );
});

test("takes who may call, how often and for how much; a signature needs its secret", () => {
  const limits = { auth: "none", rateLimit: { requestsPerSecond: 10, burst: 20 }, maxConcurrency: 5, budget: { perDay: 1.5 } };
  const { auth, rateLimit, maxConcurrency, budget } = parseFunctionSpec({ ...minimal, ...limits });
  assert.deepEqual({ auth, rateLimit, maxConcurrency, budget }, limits);
  expectProblem({ auth: "open" }, /^auth: must be one of none, required$/);
  expectProblem({ rateLimit: { requestsPerSecond: 0 } }, /^rateLimit.requestsPerSecond: must be at least 0.001$/);
  expectProblem({ rateLimit: {} }, /^rateLimit.requestsPerSecond: is required$/);
  expectProblem({ maxConcurrency: 0 }, /^maxConcurrency: must be at least 1$/);
  expectProblem({ budget: { perDay: 0 } }, /^budget.perDay: /);

  const signature = { scheme: "github", secretFrom: "WEBHOOK_SECRET" };
  const triggers = [{ type: "http", config: { path: "/hook", auth: "none", signature } }];
  assert.deepEqual(problemsOf({ ...minimal, triggers, environment: { WEBHOOK_SECRET: "s" } }), []);
  for (const environment of [{}, { WEBHOOK_SECRET: "" }]) {
    expectProblem({ triggers, environment }, /^triggers\[0\].config.signature: names WEBHOOK_SECRET, which environment lacks/);
  }
  expectProblem(
    { triggers: [{ type: "http", config: { path: "/hook", signature: { ...signature, scheme: "md5" } } }] },
    /^triggers\[0\].config.signature.scheme: must be one of github, stripe$/,
  );
});

test("problems come in the order of the body", () => {
  const triggers = Array.from({ length: 12 }, (_, i) => ({ type: "http", config: { path: i === 0 || i === 10 ? "none" : `/p${i}` } }));
  triggers[10]!.type = "htp";
  const body = { memory: 1, triggers, ...minimal, x: 1, handler: "a..b" };
  const fields = problemsOf(body).map((problem) => /^[^.:]*/.exec(problem)?.[0]);
  assert.deepEqual(fields, ["memory", "triggers[0]", "triggers[10]", "handler", "x"]);
});
