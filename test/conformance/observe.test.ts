import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform } from "./support/platform.ts";
import { RUNTIMES } from "./support/vectors.ts";

const platform = await openPlatform();

interface Entry {
  time: string;
  stream: string;
  requestId: string | null;
  replica: string;
  revision: number;
  message: string;
  truncated?: boolean;
  dropped?: number;
}

async function logsOf(name: string, query = ""): Promise<Entry[]> {
  return (await platform.get(`/functions/${name}/logs${query}`)).json as Entry[];
}

function waitForLines(name: string, count: number, query = ""): Promise<Entry[]> {
  return waitFor(`${count} lines of ${name}`, async () => {
    const entries = await logsOf(name, query);
    return entries.length >= count ? entries : undefined;
  });
}

describe("GET /functions/{name}/metrics", { concurrency: 4 }, () => {
  test("is all zero before the first call, and has every field", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => 1;" });
    const { lastInvocation, ...rest } = (await platform.get(`/functions/${name}/metrics`)).json;
    assert.ok(lastInvocation === undefined || lastInvocation === null || lastInvocation === 0);
    assert.deepEqual(rest, {
      invocations: 0,
      coldStarts: 0,
      avgDuration: 0,
      errorRate: 0,
      costEstimate: 0,
      p50: 0,
      p95: 0,
      p99: 0,
      coldStartAvg: 0,
      inFlight: 0,
      replicas: 0,
      errors: {},
    });
  });

  test("counts calls of every way in, cold starts, durations in seconds, errors by code, and what it would cost", async () => {
    const code = `exports.handler = async ({ query, body }) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (query.fail ?? body?.fail) throw new Error('x');
      return { statusCode: 503, body: 'of its own will' };
    };`;
    const name = await platform.deploy({ code, memory: 512, maxReplicas: 1 });
    for (let i = 0; i < 6; i++) await platform.call(name);
    for (let i = 0; i < 2; i++) await platform.invoke(name);
    await platform.call(name, "?fail=1");
    await platform.invoke(name, { fail: true });
    const metrics = await waitFor("ten calls", async () => {
      const { json } = await platform.get(`/functions/${name}/metrics`);
      return json.invocations === 10 ? json : undefined;
    });
    assert.deepEqual(
      [metrics.coldStarts, metrics.errorRate, metrics.errors, metrics.replicas, metrics.inFlight],
      [1, 0.2, { FUNCTION_ERROR: 2 }, 1, 0],
    );
    assert.ok(metrics.avgDuration >= 0.09 && metrics.avgDuration < 1, String(metrics.avgDuration));
    assert.ok(metrics.p50 >= 0.09 && metrics.p50 <= metrics.p95 && metrics.p95 <= metrics.p99, JSON.stringify(metrics));
    assert.ok(metrics.coldStartAvg > 0 && metrics.coldStartAvg < 10);
    assert.ok(Math.abs(Date.parse(metrics.lastInvocation) - Date.now()) < 60_000);
    if (!platform.isOwn) return assert.ok(metrics.costEstimate > 0);
    const cost = 10 * metrics.avgDuration * 0.5 * 0.0000166667 + 10 * 0.0000002;
    assert.ok(Math.abs(metrics.costEstimate - cost) < cost * 0.05, `${metrics.costEstimate}, not ${cost}`);
  });

  test("goes on through an update", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => 1;" });
    await platform.invoke(name);
    await platform.put(name, { code: "exports.handler = () => 2;" });
    await platform.settled(name);
    await platform.invoke(name);
    assert.equal((await platform.get(`/functions/${name}/metrics`)).json.invocations, 2);
  });

  test("counts time-outs and crashes as errors", async () => {
    const code = "exports.handler = ({ body }) => (body.exit ? process.exit(1) : new Promise(() => {}));";
    const name = await platform.deploy({ code, timeout: 1 });
    await platform.invoke(name, {});
    await platform.invoke(name, { exit: true });
    const { errors, errorRate } = (await platform.get(`/functions/${name}/metrics`)).json;
    assert.deepEqual([errors, errorRate], [{ TIMEOUT: 1, FUNCTION_CRASHED: 1 }, 1]);
  });
});

describe("GET /metrics", () => {
  test("has the same for Prometheus, by function", async () => {
    const name = await platform.deploy({ code: "exports.handler = ({ body }) => { if (body.fail) throw new Error('x'); };" });
    for (const fail of [false, true, false]) await platform.invoke(name, { fail });
    const { status, headers, text } = await platform.send({ path: "/metrics" });
    assert.equal(status, 200);
    assert.match(String(headers["content-type"]), /^text\/plain; version=0\.0\.4/);
    const mine = text.split("\n").filter((line) => line.includes(`function="${name}"`));
    assert.ok(mine.includes(`kube_serverless_invocations_total{function="${name}"} 3`), mine.join("\n"));
    assert.ok(mine.includes(`kube_serverless_errors_total{function="${name}",code="FUNCTION_ERROR"} 1`));
    assert.ok(mine.includes(`kube_serverless_cold_starts_total{function="${name}"} 1`));
    assert.ok(mine.some((line) => /^kube_serverless_invocation_duration_seconds_bucket\{.*le="\+Inf"\} 3$/.test(line)));
    for (const line of text.trimEnd().split("\n")) {
      assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_:]+(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? (NaN|[+-]?Inf|[-+\d.e]+))$/, line);
    }
    const types = text.split("\n").filter((line) => line.startsWith("# TYPE"));
    assert.equal(new Set(types).size, types.length);
  });
});

const PRINTING = {
  nodejs18: `exports.handler = async ({ body }) => {
    console.log('out', body.n); console.error('err'); console.log({ a: [1] }); process.stdout.write('half '); process.stdout.write('line\\n');
  };`,
  python39: `import sys
def handler(event):
    print("out", event["body"]["n"])
    print("err", file=sys.stderr)
    print({"a": [1]})
    sys.stdout.write("half ")
    sys.stdout.write("line\\n")
`,
};

describe("GET /functions/{name}/logs", { concurrency: 4 }, () => {
  for (const [runtime, code] of Object.entries(PRINTING)) {
    test(`has what ${runtime} prints, a line each, with time, stream, request, replica and revision`, async () => {
      const name = await platform.deploy({ runtime, code });
      await platform.invoke(name, { n: 7 }, { "x-request-id": "print-1" });
      const entries = await waitForLines(name, 4);
      const byStream = (stream: string): string[] => entries.filter((entry) => entry.stream === stream).map(({ message }) => message);
      assert.deepEqual(byStream("stdout")[0], "out 7");
      assert.deepEqual(byStream("stdout").at(-1), "half line");
      assert.deepEqual(byStream("stderr"), ["err"]);
      for (const { time, requestId, replica, revision } of entries) {
        assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
        assert.deepEqual([requestId, revision], ["print-1", 1]);
        assert.ok(replica.length > 0);
      }
    });
  }

  const ONLY_IN_POD_OUTPUT = "in a pod what bypasses the shim reaches the pod's own output alone (runtimes/PROTOCOL.md)";
  /** Past the shim, to the process's own descriptors. */
  const RAW: Record<string, string> = {
    go119: `package f
import ("fmt"; "os")
func Handler(e map[string]any) (any, error) {
  fmt.Println("out", e["requestId"])
  fmt.Fprintln(os.Stderr, "err", e["requestId"])
  return nil, nil
}`,
    nodejs18: `const fs = require("fs");
exports.handler = async ({ requestId }) => { fs.writeSync(1, "out " + requestId + "\\n"); fs.writeSync(2, "err " + requestId + "\\n"); };`,
    python39: `import os
def handler(event):
  os.write(1, b"out %s\\n" % event["requestId"].encode())
  os.write(2, b"err %s\\n" % event["requestId"].encode())`,
  };
  for (const [runtime, code] of Object.entries(RAW)) {
    test(`knows the request of what ${runtime} writes to its descriptors, as long as one call runs alone`, async (t) => {
      if (runtime !== "go119" && (await platform.runsInPods())) return t.skip(ONLY_IN_POD_OUTPUT);
      const name = await platform.deploy({ runtime, code });
      const ids = Array.from({ length: 30 }, (_, i) => `alone-${i}`);
      for (const id of ids) assert.equal((await platform.invoke(name, {}, { "x-request-id": id })).status, 200);
      const entries = await waitForLines(name, 60);
      assert.deepEqual(
        entries.filter(({ message, stream, requestId }) => message !== `${stream === "stdout" ? "out" : "err"} ${requestId}`),
        [],
      );
    });
  }

  test("names no request where Go prints in several calls at once, and knows those that log by their context", async () => {
    const code = `package f
import ("context"; "fmt"; "time")
func Handler(ctx context.Context, e map[string]any) (any, error) {
  time.Sleep(200 * time.Millisecond)
  fmt.Println("printed")
  ctx.Value("log").(func(...any))("logged", e["requestId"])
  time.Sleep(200 * time.Millisecond)
  return nil, nil
}`;
    const name = await platform.deploy({ runtime: "go119", code, maxReplicas: 1 });
    await Promise.all(["a", "b", "c"].map((id) => platform.invoke(name, {}, { "x-request-id": `several-${id}` })));
    const entries = await waitForLines(name, 6);
    for (const { message, requestId } of entries) {
      assert.equal(message, requestId === null ? "printed" : `logged ${requestId}`);
    }
  });

  test("names no request where none can have printed: while Go code loads, and long after an answer", async () => {
    const loading = `package f
import "fmt"
func init() { for i := 0; i < 20; i++ { fmt.Println("loading") } }
func Handler(e map[string]any) (any, error) {
  fmt.Println("called")
  return nil, nil
}`;
    const late = `package f
import ("fmt"; "time")
func Handler(e map[string]any) (any, error) {
  time.AfterFunc(400 * time.Millisecond, func() { fmt.Println("late") })
  return nil, nil
}`;
    const [first, second] = await Promise.all([loading, late].map((code) => platform.deploy({ runtime: "go119", code })));
    await Promise.all([first!, second!].map((name) => platform.invoke(name, {}, { "x-request-id": "only-one" })));
    for (const { message, requestId } of await waitForLines(first!, 41)) {
      assert.equal(requestId, message === "called" ? "only-one" : null, message);
    }
    assert.deepEqual(
      (await waitForLines(second!, 1)).map(({ requestId }) => requestId),
      [null],
    );
  });

  test("knows the request of every line of calls beside each other", async () => {
    const codes = {
      nodejs18:
        "exports.handler = async ({ body }) => { for (let i = 0; i < 3; i++) { console.log(body.id); await new Promise((r) => setTimeout(r, 5)); } };",
      python39:
        "import asyncio\nasync def handler(event):\n    for _ in range(3):\n        print(event['body']['id'])\n        await asyncio.sleep(0.005)\n",
    };
    for (const [runtime, code] of Object.entries(codes)) {
      const name = await platform.deploy({ runtime, code, concurrency: 10, maxReplicas: 1 });
      const ids = Array.from({ length: 10 }, (_, i) => `beside-${i}`);
      await Promise.all(ids.map((id) => platform.invoke(name, { id }, { "x-request-id": id })));
      const entries = await waitForLines(name, 30);
      assert.deepEqual(
        entries.filter(({ message, requestId }) => message !== requestId),
        [],
        runtime,
      );
      assert.equal((await logsOf(name, "?requestId=beside-3")).length, 3);
    }
  });

  test("gives the last 100, oldest first, or as many as asked for", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => { for (let i = 0; i < 150; i++) console.log(i); };" });
    await platform.invoke(name);
    await waitForLines(name, 150, "?tail=1000");
    const messages = (entries: Entry[]): string[] => entries.map(({ message }) => message);
    assert.deepEqual(
      messages(await logsOf(name)),
      Array.from({ length: 100 }, (_, i) => String(i + 50)),
    );
    assert.deepEqual(messages(await logsOf(name, "?tail=2")), ["148", "149"]);
    assert.deepEqual(await logsOf(name, "?tail=0"), []);
    const all = await logsOf(name, "?tail=1000");
    assert.deepEqual(await logsOf(name, `?since=${encodeURIComponent(new Date(Date.now() + 60_000).toISOString())}`), []);
    assert.equal((await logsOf(name, `?tail=1000&since=${encodeURIComponent(all[0]?.time ?? "")}`)).length, 150);
    assert.equal((await logsOf(name, "?tail=1000&since=10m")).length, 150);
  });

  test("cuts a line at 64 KiB and says so", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => console.log('x'.repeat(1 << 20));" });
    await platform.invoke(name);
    const entries = await waitForLines(name, 1);
    const cut = entries.filter(({ truncated }) => truncated === true);
    assert.equal(cut.length, 1);
    assert.ok((cut[0]?.message.length ?? 0) <= 65_536 && (cut[0]?.message.length ?? 0) > 60_000);
  });

  test("shows binary and terminal codes as JSON can", async () => {
    const name = await platform.deploy({
      runtime: "python39",
      code: "import sys\ndef handler(event):\n    sys.stdout.buffer.write(b'\\xff\\x00\\x1b[31mred\\n')\n    sys.stdout.flush()\n",
    });
    await platform.invoke(name);
    const [entry] = await waitForLines(name, 1);
    assert.match(String(entry?.message), /red$/);
  });

  test("has what is printed while loading, and by a deploy that failed", async () => {
    const name = await platform.deploy({ code: "console.log('loading'); exports.handler = () => 1;" });
    await platform.invoke(name);
    const entries = await waitForLines(name, 1);
    assert.deepEqual([entries[0]?.message, entries[0]?.requestId], ["loading", null]);
    const failing = await platform.create({ code: "console.log('before'); throw new Error('x');" });
    await platform.settled(failing.name);
    assert.equal((await waitForLines(failing.name, 1))[0]?.message, "before");
  });

  test("outlives updates and restarts of replicas, the revision telling them apart", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => { console.log('one'); };" });
    await platform.invoke(name);
    await platform.put(name, { code: "exports.handler = () => { console.log('two'); };" });
    await platform.settled(name);
    await platform.invoke(name);
    const entries = await waitForLines(name, 2);
    assert.deepEqual(
      entries.map(({ message, revision }) => [message, revision]),
      [
        ["one", 1],
        ["two", 2],
      ],
    );
  });

  test("follows as server-sent events: what is there, then what comes", async () => {
    const name = await platform.deploy({ code: "exports.handler = ({ body }) => { console.log(body.n); };" });
    await platform.invoke(name, { n: 1 });
    await waitForLines(name, 1);
    const { request, response } = await platform.client.open({ path: `/api/v1/functions/${name}/logs?follow=true` });
    assert.equal(response.statusCode, 200);
    assert.match(String(response.headers["content-type"]), /^text\/event-stream/);
    let received = "";
    response.setEncoding("utf8").on("data", (chunk: string) => (received += chunk));
    response.on("error", () => undefined);
    const messages = (): string[] =>
      received
        .split("\n\n")
        .filter((event) => event.includes("data: "))
        .map((event) => (JSON.parse(event.slice(event.indexOf("data: ") + 6)) as Entry).message);
    await waitFor("the line that was there", () => messages().length === 1);
    for (const n of [2, 3]) await platform.invoke(name, { n });
    await waitFor("the lines that came", () => messages().length === 3);
    assert.deepEqual(messages(), ["1", "2", "3"]);
    request.destroy();
  });

  test("follows one request alone where that is asked for, and ends with the function", async () => {
    const name = await platform.deploy({ code: "exports.handler = ({ body }) => { console.log(body.n); };" });
    const { response } = await platform.client.open({ path: `/api/v1/functions/${name}/logs?follow&requestId=wanted` });
    let received = "";
    let isOver = false;
    response.setEncoding("utf8").on("data", (chunk: string) => (received += chunk));
    response.on("end", () => (isOver = true)).on("error", () => (isOver = true));
    for (const id of ["other", "wanted", "another"]) await platform.invoke(name, { n: id }, { "x-request-id": id });
    await waitFor("the wanted line", () => received.includes("wanted"));
    assert.doesNotMatch(received, /other/);
    await platform.delete(name);
    await waitFor("the end", () => isOver);
  });

  test("of many lines a second keeps calls going, and bounds what is kept", async () => {
    const code =
      "exports.handler = () => { const line = 'y'.repeat(1000); for (let i = 0; i < 30000; i++) console.log(line); return 'done'; };";
    const name = await platform.deploy({ code });
    assert.equal((await platform.invoke(name)).json.body, "done");
    await waitForLines(name, 100);
    const { bytes } = await platform.get(`/functions/${name}/logs?tail=10000`);
    assert.ok(bytes.length < 14 << 20, `${bytes.length} bytes`);
  });
});

describe("GET /runtimes", () => {
  test("names the documented ones, with the version that runs them", async () => {
    const known = (await platform.get("/runtimes")).json as {
      name: string;
      language: string;
      version: string;
      exact: boolean;
      available: boolean;
    }[];
    for (const runtime of RUNTIMES) {
      const entry = known.find(({ name }) => name === runtime);
      assert.deepEqual([entry?.available, entry?.language], [true, /^[a-z]+/.exec(runtime)?.[0]]);
      assert.match(String(entry?.version), /^\d+\.\d+/);
    }
  });
});
