import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { openPlatform, uniqueName } from "./support/platform.ts";
import { missingCurl, missingRequests, runNode, runPython, runShell } from "./support/run-program.ts";

// The documentation's samples as they stand, with the host and the elided code filled in; one wrapper a client adds the key.

const platform = await openPlatform();
const { authorization } = platform.client;

/** The samples' own name: whoever has it before must not lose it. */
const SAMPLE = "my-function";
const taken =
  (await platform.get(`/functions/${SAMPLE}`)).status === 200 ? `the platform has a function ${SAMPLE} that is not ours` : false;

async function removeSample(): Promise<void> {
  if (taken === false) await platform.delete(SAMPLE);
}

function curl(script: string): Promise<string> {
  const key = Object.entries(authorization).map(([name, value]) => `-H '${name}: ${value}'`);
  return runShell(script.replaceAll("http://api-server", platform.url).replaceAll("curl ", `curl -sS ${key.join(" ")} `));
}

function axios(script: string): Promise<string> {
  const key = `axios.defaults.headers.common = { ...axios.defaults.headers.common, ...${JSON.stringify(authorization)} };`;
  const filled = script.replaceAll("http://api-server", platform.url).replace("require('axios');", `require('axios'); ${key}`);
  return runNode(`(async () => {${filled}\n})().catch((error) => { console.error(error); process.exitCode = 1; });`);
}

function requests(script: string): Promise<string> {
  const filled = script.replaceAll("http://api-server", platform.url);
  const key = `
_request = requests.Session.request
def _with_key(self, *args, **kwargs):
    self.headers.update(${JSON.stringify(authorization)})
    return _request(self, *args, **kwargs)
requests.Session.request = _with_key
`;
  return runPython(filled.replace("import requests\n", `import requests\n${key}`));
}

describe("the documented JSON", () => {
  afterEach(removeSample);

  const CREATE = {
    name: "my-function",
    runtime: "nodejs18",
    handler: "index.handler",
    code: "module.exports.handler = async (event) => { return { statusCode: 200, body: 'Hello!' }; };",
    environment: { VAR1: "value1" },
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [{ type: "http", config: { path: "/my-function" } }],
  };

  test("creates, shows, lists, updates, invokes, measures and deletes a function", { skip: taken }, async () => {
    const created = await platform.create(CREATE);
    assert.equal(created.status, 201);
    const { name, runtime, handler, status } = created.json;
    assert.deepEqual(
      { name, runtime, handler, status },
      { name: SAMPLE, runtime: "nodejs18", handler: "index.handler", status: { state: "deploying" } },
    );
    assert.equal((await platform.settled(SAMPLE)).state, "running");

    const shown = await platform.get(`/functions/${SAMPLE}`);
    assert.equal(shown.status, 200);
    const { uid: _uid, createdAt: _createdAt, generation: _generation, revision: _revision, ...rest } = shown.json;
    assert.deepEqual(rest, {
      ...CREATE,
      timeout: 30,
      memory: 256,
      concurrency: 100,
      network: "outbound",
      status: rest.status,
    });
    assert.equal(rest.status.state, "running");
    assert.equal(typeof rest.status.replicas, "number");
    assert.equal(rest.status.endpoint, "my-function.kube-serverless.svc.cluster.local");

    const list = await platform.get("/functions");
    assert.equal(list.status, 200);
    const entry = list.json.find((one: { name: string }) => one.name === SAMPLE);
    const documented = ["name", "runtime", "handler", "minReplicas", "maxReplicas", "status"];
    assert.deepEqual(
      documented.filter((field) => !(field in entry)),
      [],
    );
    assert.equal("code" in entry, false);
    assert.match(entry.status.lastDeployment, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);

    const updated = await platform.control("PUT", `/functions/${SAMPLE}`, { ...CREATE, maxReplicas: 5 });
    assert.equal(updated.status, 200);

    const invoked = await platform.invoke(SAMPLE, { key: "value", data: [1, 2, 3] });
    assert.equal(invoked.status, 200);
    assert.deepEqual(invoked.json, { statusCode: 200, body: "Hello!" });
    assert.match(String(invoked.headers["x-function-duration"]), /^\d+(\.\d+)?$/);
    assert.match(String(invoked.headers["x-cold-start"]), /^(true|false)$/);

    const triggered = await platform.send({ path: "/my-function" });
    assert.equal(triggered.text, "Hello!");

    const metrics = await platform.get(`/functions/${SAMPLE}/metrics`);
    assert.equal(metrics.status, 200);
    for (const field of ["invocations", "coldStarts", "avgDuration", "errorRate", "costEstimate"]) {
      assert.equal(typeof metrics.json[field], "number", field);
    }

    const deleted = await platform.delete(SAMPLE);
    assert.equal(deleted.status, 204);
    assert.equal(deleted.text, "");
  });

  test("is what invoke answers when a function returns an object as its body", async () => {
    const name = await platform.deploy({
      code: "exports.handler = (event) => ({ statusCode: 200, body: { message: 'Function executed successfully', result: event.body.data } });",
    });
    const { json } = await platform.invoke(name, { key: "value", data: [1, 2, 3] });
    assert.deepEqual(json, { statusCode: 200, body: { message: "Function executed successfully", result: [1, 2, 3] } });
  });

  test("describes health and readiness, at the root and under the API", async () => {
    for (const prefix of ["", "/api/v1"]) {
      const health = await platform.send({ path: `${prefix}/health` });
      assert.deepEqual([health.status, health.json], [200, { status: "healthy" }]);
      const ready = await platform.send({ path: `${prefix}/ready` });
      assert.deepEqual([ready.status, ready.json.status], [200, "ready"]);
    }
  });

  test("describes the errors 400, 404 and 500", async () => {
    const wrong = await platform.control("POST", "/functions", "{", { "content-type": "application/json" });
    assert.deepEqual([wrong.status, wrong.json.error], [400, "Invalid request body"]);
    const absent = await platform.get(`/functions/${uniqueName()}`);
    assert.deepEqual([absent.status, absent.json.error], [404, "Function not found"]);
    const name = await platform.deploy({ code: "exports.handler = () => { throw new Error('out of paper'); };" });
    const failed = await platform.invoke(name);
    assert.deepEqual([failed.status, failed.json.error], [500, "Internal server error: out of paper"]);
  });

  test("describes triggers of the three types, which a function may have together", async () => {
    const triggers = [
      { type: "http", config: { path: "/custom-path" } },
      { type: "cron", config: { schedule: "*/5 * * * *" } },
      { type: "queue", config: { queue: "function-queue", exchange: "function-triggers" } },
    ];
    const name = await platform.deploy({ code: "exports.handler = () => ({ message: 'Hello World' });", triggers });
    assert.deepEqual((await platform.get(`/functions/${name}`)).json.triggers, triggers);
    assert.deepEqual((await platform.send({ path: "/custom-path" })).json, { message: "Hello World" });
    await platform.delete(name);
  });

  test("describes the event", async () => {
    const name = await platform.deploy({
      code: "exports.handler = ({ body, headers, method, path, query }) => ({ body, headers: typeof headers, method, path, query });",
    });
    const { json } = await platform.invoke(name, {});
    assert.deepEqual(json.body, { body: {}, headers: "object", method: "POST", path: "/invoke", query: {} });
  });
});

describe("the documented handlers", () => {
  const CASES = [
    { runtime: "nodejs18", handler: "index.handler", code: "exports.handler = () => 1;" },
    { runtime: "nodejs18", handler: "filename.exportname", code: "exports.exportname = () => 1;" },
    { runtime: "python39", handler: "handler.handler", code: "def handler(event):\n    return 1\n" },
    { runtime: "python39", handler: "filename.functionname", code: "def functionname(event):\n    return 1\n" },
    { runtime: "go119", handler: "Handler", code: "package main\n\nfunc Handler(event map[string]any) (any, error) { return 1, nil }\n" },
    {
      runtime: "go119",
      handler: "FunctionName",
      code: "package main\n\nfunc FunctionName(event map[string]any) (any, error) { return 1, nil }\n",
    },
  ];
  for (const wish of CASES) {
    test(`are found by ${wish.runtime}: ${wish.handler}`, async () => {
      const name = await platform.deploy(wish);
      assert.deepEqual((await platform.invoke(name)).json, { statusCode: 200, body: 1 });
    });
  }
});

describe("the documented clients", () => {
  afterEach(removeSample);

  test("axios deploys and invokes", { skip: taken }, async () => {
    const printed = await axios(`
const axios = require('axios');

const client = axios.create({
  baseURL: 'http://api-server/api/v1'
});

// Deploy function
await client.post('/functions', {
  name: 'my-function',
  runtime: 'nodejs18',
  handler: 'index.handler',
  code: 'module.exports.handler = async (event) => ({ got: event.body.data })'
});

// Invoke function
const result = await client.post('/functions/my-function/invoke', {
  data: 'test'
});
console.log(JSON.stringify([result.status, result.data]));`);
    assert.deepEqual(JSON.parse(printed), [200, { statusCode: 200, body: { got: "test" } }]);
  });

  const PYTHON_SAMPLE = `
import requests

BASE_URL = 'http://api-server/api/v1'

# Deploy function
response = requests.post(f'{BASE_URL}/functions', json={
    'name': 'my-function',
    'runtime': 'python39',
    'handler': 'handler',
    'code': 'def handler(event): ...'
})

# Invoke function
result = requests.post(f'{BASE_URL}/functions/my-function/invoke',
    json={'data': 'test'})
print(response.status_code, result.status_code, result.text)
`;

  test("requests deploys and invokes, its elision being Python already", { skip: taken || missingRequests }, async () => {
    assert.equal(await requests(PYTHON_SAMPLE), '201 200 {"statusCode":200,"body":null}\n');
  });

  test("requests deploys and invokes what stands for the elision", { skip: taken || missingRequests }, async () => {
    const script = PYTHON_SAMPLE.replace("event): ...", 'event): return {"got": event["body"]["data"]}');
    assert.equal(await requests(script), '201 200 {"statusCode":200,"body":{"got":"test"}}\n');
  });

  test("curl deploys and invokes", { skip: taken || missingCurl }, async () => {
    const printed = await curl(`
# Deploy function
curl -X POST http://api-server/api/v1/functions \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "my-function",
    "runtime": "nodejs18",
    "handler": "index.handler",
    "code": "module.exports.handler = async (e) => ({statusCode: 200, body: \\"OK\\"});"
  }'

echo

# Invoke function
curl -X POST http://api-server/api/v1/functions/my-function/invoke \\
  -H "Content-Type: application/json" \\
  -d '{"test": "data"}'`);
    const [deployed = "", invoked] = printed.split("\n");
    const { name, runtime, handler, status } = JSON.parse(deployed);
    assert.deepEqual([name, runtime, handler, status], ["my-function", "nodejs18", "index.handler", { state: "deploying" }]);
    assert.equal(invoked, '{"statusCode":200,"body":"OK"}');
  });
});
