import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openPlatform } from "./support/platform.ts";

const platform = await openPlatform();

interface HandlerCase {
  what: string;
  runtime: string;
  handler?: string;
  code: string;
  body?: unknown;
  expected: unknown;
}

const FORMS: HandlerCase[] = [
  {
    what: "CommonJS, synchronous",
    runtime: "nodejs18",
    code: "exports.handler = (event) => event.body.n + 1;",
    body: { n: 1 },
    expected: 2,
  },
  {
    what: "an ES module",
    runtime: "nodejs18",
    code: "export const handler = async (event) => event.body.n + 1;",
    body: { n: 1 },
    expected: 2,
  },
  {
    what: "an ES module with top-level await and createRequire",
    runtime: "nodejs18",
    code: `import { createRequire } from 'node:module';
      const { sep } = createRequire(import.meta.url)('node:path');
      const waited = await Promise.resolve('waited');
      export const handler = () => [sep, waited, import.meta.url];`,
    expected: ["/", "waited", "file:///function/index.mjs"],
  },
  { what: "a default export that holds it", runtime: "nodejs18", code: "export default { handler: () => 'held' };", expected: "held" },
  {
    what: "a callback with a result",
    runtime: "nodejs18",
    code: "exports.handler = (event, context, callback) => setTimeout(callback, 5, null, 'called');",
    expected: "called",
  },
  {
    what: "a callback before a promise: the first counts",
    runtime: "nodejs18",
    code: "exports.handler = async (event, context, callback) => { callback(null, 'first'); return 'second'; };",
    expected: "first",
  },
  {
    what: "TypeScript-like names and a nested path",
    runtime: "nodejs18",
    handler: "src/app.main",
    code: "exports.main = () => 'main';",
    expected: "main",
  },
  {
    what: "a file and a function",
    runtime: "python39",
    handler: "app.main",
    code: "def main(event, context):\n    return 'main'\n",
    expected: "main",
  },
  { what: "a function alone", runtime: "python39", handler: "main", code: "def main(event):\n    return 'main'\n", expected: "main" },
  {
    what: "async def",
    runtime: "python39",
    code: "import asyncio\nasync def handler(event, context):\n    await asyncio.sleep(0.001)\n    return event['body']['n'] + 1\n",
    body: { n: 1 },
    expected: 2,
  },
  {
    what: "typed event and result",
    runtime: "go119",
    code: 'package main\n\ntype Event struct{ Body struct{ N int } }\ntype Result struct{ Sum int `json:"sum"` }\n\nfunc Handler(e Event) (Result, error) { return Result{e.Body.N + 1}, nil }\n',
    body: { n: 1 },
    expected: { sum: 2 },
  },
  {
    what: "a context first",
    runtime: "go119",
    code: 'package f\n\nimport "context"\n\nfunc Handler(ctx context.Context, e map[string]any) (string, error) {\n\t_, has := ctx.Deadline()\n\tif has {\n\t\treturn "deadline", nil\n\t}\n\treturn "none", nil\n}\n',
    expected: "deadline",
  },
  {
    what: "a main that is not run",
    runtime: "go119",
    code: 'package main\n\nimport "os"\n\nfunc main() { os.Exit(9) }\n\nfunc Handler(e map[string]any) (any, error) { return "alive", nil }\n',
    expected: "alive",
  },
];

describe("a handler", { concurrency: 4 }, () => {
  for (const { what, body, expected, ...wish } of FORMS) {
    test(`in ${wish.runtime} may be ${what}`, async () => {
      const name = await platform.deploy(wish);
      const answer = await platform.invoke(name, body);
      assert.equal(answer.status, 200, answer.text);
      assert.deepEqual(answer.json.body, expected);
    });
  }

  test("in nodejs18 may fail by its callback", async () => {
    const name = await platform.deploy({
      code: "exports.handler = (event, context, callback) => callback(new RangeError('by callback'));",
    });
    const answer = await platform.invoke(name);
    assert.deepEqual([answer.status, answer.json.error], [500, "Internal server error: by callback"]);
  });

  test("in go119 may be a http.HandlerFunc", async () => {
    const code = `package f

import (
	"fmt"
	"io"
	"net/http"
)

func Handler(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Made-By", "net/http")
	w.WriteHeader(201)
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.Path, r.URL.Query().Get("q"), body)
}
`;
    const name = await platform.deploy({ runtime: "go119", code });
    const answer = await platform.call(name, "/deep?q=1", { method: "PUT", body: "sent" });
    assert.deepEqual([answer.status, answer.text, answer.headers["x-made-by"]], [201, "PUT /deep 1 sent", "net/http"]);
  });

  test("keeps what its module keeps, from call to call", async () => {
    const codes = {
      nodejs18: "let count = 0; exports.handler = () => ++count;",
      python39: "count = 0\ndef handler(event):\n    global count\n    count += 1\n    return count\n",
      go119: "package f\n\nvar count int\n\nfunc Handler(e map[string]any) (any, error) {\n\tcount++\n\treturn count, nil\n}\n",
    };
    for (const [runtime, code] of Object.entries(codes)) {
      const name = await platform.deploy({ runtime, code, maxReplicas: 1 });
      const counts: number[] = [];
      for (let i = 0; i < 3; i++) counts.push((await platform.invoke(name)).json.body);
      assert.deepEqual(counts, [1, 2, 3], runtime);
    }
  });
});

const CONTEXT_CODES = {
  nodejs18: `exports.handler = (event, context) => {
    context.callbackWaitsForEmptyEventLoop = false;
    return [context.functionName, context.functionVersion, String(context.memoryLimitInMB), context.invokedFunctionArn, context.awsRequestId,
      context.requestId, typeof context.logGroupName, typeof context.logStreamName, context.getRemainingTimeInMillis(), typeof context.log,
      context.signal instanceof AbortSignal];
  };`,
  python39: `def handler(event, context):
    return [context.function_name, context.function_version, str(context.memory_limit_in_mb), context.invoked_function_arn, context.aws_request_id,
        context.request_id, "string" if isinstance(context.log_group_name, str) else "", "string" if isinstance(context.log_stream_name, str) else "",
        context.get_remaining_time_in_millis(), "function" if callable(context.log) else "", True]
`,
};

describe("the context", () => {
  for (const [runtime, code] of Object.entries(CONTEXT_CODES)) {
    test(`of ${runtime} has the names that handlers know`, async () => {
      const name = await platform.deploy({ runtime, code, memory: 192, timeout: 7 });
      const answer = await platform.invoke(name, {}, { "x-request-id": "ctx-1" });
      const [functionName, version, memory, arn, awsId, id, group, stream, remainingMs, log, signal] = answer.json.body;
      assert.deepEqual([functionName, String(version), memory, arn], [name, "1", "192", `kube-serverless:${name}:1`]);
      assert.deepEqual([awsId, id, group, stream, log, signal], ["ctx-1", "ctx-1", "string", "string", "function", true]);
      assert.ok(remainingMs > 3000 && remainingMs <= 7000, String(remainingMs));
    });
  }
});

const ENVIRONMENT_CODES = {
  nodejs18: "exports.handler = () => ({ ...process.env });",
  python39: "import os\ndef handler(event):\n    return dict(os.environ)\n",
  go119: `package f

import (
	"os"
	"strings"
)

func Handler(e map[string]any) (any, error) {
	all := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		all[name] = value
	}
	return all, nil
}
`,
};

describe("the environment", () => {
  for (const [runtime, code] of Object.entries(ENVIRONMENT_CODES)) {
    test(`of ${runtime} is the function's own, PATH, HOME, LANG and TZ, and nothing else`, async () => {
      const environment = { VAR1: "value1", EMPTY: "", UNI: "é😀", TZ: "Europe/Kyiv", LANG: "C.UTF-8", PATH: "/usr/bin:/mine" };
      const name = await platform.deploy({ runtime, code, environment });
      const seen = (await platform.invoke(name)).json.body as Record<string, string>;
      assert.deepEqual(Object.keys(seen).sort(), ["EMPTY", "HOME", "LANG", "PATH", "TZ", "UNI", "VAR1"]);
      const { HOME: _home, ...rest } = seen;
      assert.deepEqual(rest, environment);
    });
  }

  test("sets the time zone that the language sees", async () => {
    const codes = {
      nodejs18: "exports.handler = () => new Date(Date.UTC(2026, 0, 1, 12)).getHours();",
      python39: "import datetime\ndef handler(event):\n    return datetime.datetime.fromtimestamp(1767268800).hour\n",
    };
    for (const [runtime, code] of Object.entries(codes)) {
      const name = await platform.deploy({ runtime, code, environment: { TZ: "Asia/Tokyo" } });
      assert.equal((await platform.invoke(name)).json.body, 21, runtime);
    }
  });
});

const VERSION_CODES: Record<string, string> = {
  nodejs: "exports.handler = () => process.versions.node;",
  python: "import platform\ndef handler(event):\n    return platform.python_version()\n",
  go: 'package f\n\nimport (\n\t"runtime"\n\t"strings"\n)\n\nfunc Handler(e map[string]any) (any, error) { return strings.TrimPrefix(runtime.Version(), "go"), nil }\n',
};

/** A Go that nobody has used yet has its standard library compiled first. */
const FIRST_USE_LIMIT_MS = 240_000;

const RUNTIMES = (await platform.get("/runtimes")).json as { name: string; language: string; version: string; available: boolean }[];

describe("a runtime that the platform names as available", () => {
  for (const { name: runtime, language, version } of RUNTIMES.filter(({ available }) => available)) {
    test(`(${runtime}) runs, on the version that it says`, { timeout: FIRST_USE_LIMIT_MS }, async () => {
      const name = await platform.deploy({ runtime, code: VERSION_CODES[language] ?? "" }, FIRST_USE_LIMIT_MS);
      assert.equal((await platform.invoke(name)).json.body, version);
      assert.equal((await platform.get(`/functions/${name}`)).json.status.runtimeVersion, version);
    });
  }
});
