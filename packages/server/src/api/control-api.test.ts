import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { openApiServer } from "./testing/open-api-server.ts";

const spec = { name: "hello", runtime: "nodejs18", handler: "index.handler", code: "exports.handler = () => 1" };

/** Sends bytes as they are and reads until the server closes. */
function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.end(text));
    let received = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (received += chunk));
    socket.on("error", reject).on("close", () => resolve(received));
  });
}

test("a function is created, read, changed and deleted as documented", async (t) => {
  const api = await openApiServer(t);
  const created = await api.send("POST", "/api/v1/functions", spec);
  assert.equal(created.response.status, 201);
  assert.equal(created.response.headers.get("location"), "/api/v1/functions/hello");
  assert.equal(created.response.headers.get("etag"), '"u1-1"');
  assert.deepEqual(created.body, {
    name: "hello",
    runtime: "nodejs18",
    handler: "index.handler",
    status: { state: "deploying" },
    uid: "u1",
    generation: 1,
    revision: 1,
  });

  const read = await api.send("GET", "/api/v1/functions/hello");
  assert.equal(read.response.status, 200);
  assert.equal(read.response.headers.get("etag"), '"u1-1"');
  assert.equal(read.response.headers.get("cache-control"), "no-store");
  assert.equal(read.body.code, spec.code);
  assert.equal(read.body.status.state, "running");
  assert.equal(read.body.status.replicas, 2);
  assert.equal(read.body.status.endpoint, "hello.kube-serverless.svc.cluster.local");

  const putBack = await api.send("PUT", "/api/v1/functions/hello", { ...read.body, maxReplicas: 3 });
  assert.equal(putBack.response.status, 200);
  assert.equal(putBack.response.headers.get("etag"), '"u1-2"');
  assert.equal((await api.send("GET", "/api/v1/functions/hello")).body.maxReplicas, 3);

  const deleted = await api.send("DELETE", "/api/v1/functions/hello");
  assert.equal(deleted.response.status, 204);
  assert.equal(deleted.body, undefined);
  const gone = await api.send("GET", "/api/v1/functions/hello");
  assert.equal(gone.response.status, 404);
  assert.deepEqual({ ...gone.body, requestId: "" }, { error: "Function not found", code: "FUNCTION_NOT_FOUND", requestId: "" });
  assert.equal(gone.body.requestId, gone.response.headers.get("x-request-id"));
});

test("the list is sorted, leaves the code out, and comes in parts where asked", async (t) => {
  const api = await openApiServer(t);
  for (const name of ["c", "a", "b"]) await api.send("POST", "/api/v1/functions", { ...spec, name });
  const all = await api.send("GET", "/api/v1/functions");
  assert.deepEqual(
    all.body.map((entry: { name: string }) => entry.name),
    ["a", "b", "c"],
  );
  assert.equal(all.body[0].code, undefined);
  assert.equal(all.response.headers.get("link"), null);

  const seen: string[] = [];
  for (let path: string | undefined = "/api/v1/functions?limit=2"; path !== undefined; ) {
    const part = await api.send("GET", path);
    seen.push(...part.body.map((entry: { name: string }) => entry.name));
    path = /<([^>]+)>; rel="next"/.exec(part.response.headers.get("link") ?? "")?.[1];
  }
  assert.deepEqual(seen, ["a", "b", "c"]);
  for (const query of ["limit=0", "limit=x", "limit=", "cursor=!", "limt=2"]) {
    assert.equal((await api.send("GET", `/api/v1/functions?${query}`)).body.code, "BAD_REQUEST", query);
  }
});

test("If-Match guards changes", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  const stale = { "If-Match": '"u1-7"' };
  const refused = await api.send("PUT", "/api/v1/functions/hello", spec, stale);
  assert.equal(refused.response.status, 412);
  assert.equal(refused.body.code, "PRECONDITION_FAILED");
  assert.equal((await api.send("DELETE", "/api/v1/functions/hello", undefined, stale)).response.status, 412);
  assert.equal((await api.send("PUT", "/api/v1/functions/hello", spec, { "If-Match": '"u1-7", "u1-1"' })).response.status, 200);
  assert.equal((await api.send("DELETE", "/api/v1/functions/hello", undefined, { "If-Match": "*" })).response.status, 204);
});

test("a wrong body lists every problem", async (t) => {
  const api = await openApiServer(t);
  const { response, body } = await api.send("POST", "/api/v1/functions", { name: "Hello", runtime: "nodejs18", handler: "x", code: "1" });
  assert.equal(response.status, 400);
  assert.equal(body.error, "Invalid request body");
  assert.deepEqual(
    body.details.map((problem: { path: string }) => problem.path),
    ["name", "handler"],
  );
  const cron = { ...spec, triggers: [{ type: "cron", config: { schedule: "never" } }] };
  assert.deepEqual((await api.send("POST", "/api/v1/functions", cron)).body.details, [
    { path: "triggers[0].config.schedule", message: "is no schedule" },
  ]);
  const renamed = await api
    .send("POST", "/api/v1/functions", spec)
    .then(() => api.send("PUT", "/api/v1/functions/hello", { ...spec, name: "other" }));
  assert.equal(renamed.body.details[0].path, "name");
});

const badJson: [what: string, body: string | Buffer, why: RegExp][] = [
  ["no JSON", "{", /is not JSON/],
  ["NaN", '{"timeout": NaN}', /is not JSON/],
  ["a byte order mark", `\ufeff${JSON.stringify(spec)}`, /is not JSON/],
  ["broken UTF-8", Buffer.from([0x22, 0xff, 0x22]), /is not UTF-8/],
  ["depth over 512", `${"[".repeat(513)}${"]".repeat(513)}`, /deeper than 512/],
  ["brackets without end", "[".repeat(1_000_000), /deeper than 512/],
  ["a list", "[]", /must be a JSON object/],
];
for (const [what, body, why] of badJson) {
  test(`a body with ${what} is refused`, async (t) => {
    const api = await openApiServer(t);
    const response = await api.fetch("/api/v1/functions", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const answer = (await response.json()) as { error: string; details: [{ message: string }] };
    assert.equal(response.status, 400);
    assert.equal(answer.error, "Invalid request body");
    assert.match(answer.details[0].message, why);
    assert.equal(api.internalErrors.length, 0);
  });
}

test("control routes take JSON alone", async (t) => {
  const api = await openApiServer(t);
  const post = (headers: Record<string, string>, path = "/api/v1/functions") =>
    api.fetch(path, { method: "POST", headers, body: Buffer.from(JSON.stringify(spec)) });
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/ld+json",
    "application/json; charset=latin1",
    "application/jsonx",
    "x",
  ]) {
    assert.equal((await post({ "Content-Type": type })).status, 415, type);
  }
  assert.equal((await post({})).status, 415, "no type");
  assert.equal((await post({ "Content-Type": "application/json", "Content-Encoding": "gzip" })).status, 415);
  assert.equal((await post({ "Content-Type": "Application/JSON; Charset=UTF-8", "Content-Encoding": "identity" })).status, 201);
  const deletion = await api.fetch("/api/v1/functions/hello", { method: "DELETE", headers: { "Content-Type": "text/plain" }, body: "x" });
  assert.equal(deletion.status, 415);
  assert.equal((await api.send("POST", "/api/v1/functions")).body.error, "Invalid request body");
});

test("a body over 8 MiB is refused with the limit and its size", async (t) => {
  const api = await openApiServer(t);
  const { response, body } = await api.send("POST", "/api/v1/functions", { ...spec, code: "x".repeat(9_000_000) });
  assert.equal(response.status, 413);
  assert.equal(body.code, "BODY_TOO_LARGE");
  assert.equal(body.details.limitBytes, 8_388_608);
  assert.ok(body.details.bytes > 9_000_000);
});

test("unknown paths, wrong methods and bad paths are told apart", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  const cases: [method: string, path: string, status: number, allow: string | null][] = [
    ["GET", "/api/v1/nope", 404, null],
    ["GET", "/api/v1", 404, null],
    ["GET", "/api/v1/functions/", 404, null],
    ["GET", "/api/v1/functions/hello/", 404, null],
    ["GET", "/API/v1/functions", 404, null],
    ["GET", "/console", 404, null],
    ["PATCH", "/api/v1/functions", 405, "GET, HEAD, POST"],
    ["POST", "/api/v1/functions/hello", 405, "DELETE, GET, HEAD, PUT"],
    ["OPTIONS", "/api/v1/functions/hello", 405, "DELETE, GET, HEAD, PUT"],
    ["PROPFIND", "/api/v1/functions/hello", 405, "DELETE, GET, HEAD, PUT"],
    ["GET", "/api/v1/functions/hello/invoke", 405, "POST"],
    ["DELETE", "/health", 405, "GET, HEAD"],
    ["GET", "/api/v1/queues/q/messages", 405, "POST"],
    ["GET", "/api/v1/functions/%zz", 400, null],
    ["GET", "/api/v1//functions", 400, null],
    ["GET", "/api/v1/functions/a%2Fb", 404, null],
    ["GET", "/api/v1/%66unctions/hello", 200, null],
    ["GET", `/api/v1/functions/${"a".repeat(1500)}`, 404, null],
    ["GET", `/api/v1/functions/${"a".repeat(5000)}`, 404, null],
  ];
  for (const [method, path, status, allow] of cases) {
    const response = await api.fetch(path, { method });
    assert.equal(response.status, status, `${method} ${path}`);
    assert.equal(response.headers.get("allow"), allow, `${method} ${path}`);
    const body = (await response.json()) as { error?: string; code?: string; requestId?: string };
    if (status >= 400) assert.ok(body.error && body.code && body.requestId, `${method} ${path}`);
  }
  for (const path of ["/api/v1/functions/../functions", "/api/v1/./functions", "/api/v1/functions/%2e%2e"]) {
    assert.match(
      await exchange(api.port, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
      /^HTTP\/1\.1 400 .*BAD_REQUEST/s,
    );
  }
  assert.equal(api.internalErrors.length, 0);
});

test("HEAD is answered where GET is, with the length and no body", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  for (const path of ["/api/v1/functions", "/api/v1/functions/hello", "/health", "/docs", "/openapi.json", "/api/v1/functions/gone"]) {
    const get = await api.fetch(path);
    const length = Buffer.byteLength(await get.text());
    const head = await api.fetch(path, { method: "HEAD" });
    assert.equal(head.status, get.status, path);
    assert.equal(Number(head.headers.get("content-length")), length, path);
  }
  const raw = await exchange(api.port, "HEAD /api/v1/functions/gone HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  assert.match(raw, /^HTTP\/1\.1 404[^]*\r\n\r\n$/);
});

test("health and readiness answer at the root and under /api/v1", async (t) => {
  const api = await openApiServer(t);
  for (const prefix of ["", "/api/v1"]) {
    assert.deepEqual((await api.send("GET", `${prefix}/health`)).body, { status: "healthy" });
    assert.deepEqual((await api.send("GET", `${prefix}/ready`)).body, { status: "ready" });
  }
  api.readiness = { state: "ready", degraded: ["broker"], facts: { sandbox: { driver: "plain" } } };
  assert.deepEqual((await api.send("GET", "/ready")).body, { status: "ready", degraded: ["broker"], sandbox: { driver: "plain" } });
  api.readiness = { state: "draining", degraded: [] };
  const draining = await api.send("GET", "/ready");
  assert.equal(draining.response.status, 503);
  assert.equal(draining.body.status, "draining");
  assert.equal(draining.body.code, "DRAINING");
  assert.equal((await api.send("GET", "/health")).response.status, 200);
});

test("metrics, scaling and runtimes answer their documented shapes", async (t) => {
  const api = await openApiServer(t);
  await api.send("POST", "/api/v1/functions", spec);
  const { body } = await api.send("GET", "/api/v1/functions/hello/metrics");
  for (const field of ["invocations", "coldStarts", "avgDuration", "errorRate", "costEstimate"]) assert.equal(body[field], 0, field);
  assert.equal((await api.send("GET", "/api/v1/functions/hello/scaling")).body.max, 10);
  assert.equal((await api.send("GET", "/api/v1/runtimes")).body[0].name, "nodejs18");
  assert.equal((await api.send("GET", "/api/v1/functions/hello/cron")).body.runs[0].state, "interrupted");
  for (const limit of ["0", "1001", "x", "-1", "1.5", ""]) {
    assert.equal((await api.send("GET", `/api/v1/functions/hello/cron?limit=${limit}`)).response.status, 400, limit);
  }
  for (const part of ["metrics", "scaling", "logs", "cron"]) {
    assert.equal((await api.send("GET", `/api/v1/functions/gone/${part}`)).body.code, "FUNCTION_NOT_FOUND");
  }
  const scrape = await api.fetch("/metrics");
  assert.match(scrape.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  assert.equal(await scrape.text(), "# HELP kube_serverless_up Up.\nkube_serverless_up 1\n");
});

test("a defect within is told to the log, and to the caller only as such", async (t) => {
  const secret = new Error("password=hunter2");
  const api = await openApiServer(t, {
    readMetrics: () => {
      throw secret;
    },
  });
  await api.send("POST", "/api/v1/functions", spec);
  const { response, body } = await api.send("GET", "/api/v1/functions/hello/metrics");
  assert.equal(response.status, 500);
  assert.equal(body.code, "INTERNAL");
  assert.match(body.error, /^Internal server error: /);
  assert.doesNotMatch(JSON.stringify(body), /hunter2/);
  assert.deepEqual(api.internalErrors, [secret]);
});

test("messages are published as they are, and queues counted", async (t) => {
  const api = await openApiServer(t);
  const response = await api.fetch("/api/v1/queues/orders/messages", {
    method: "POST",
    headers: { "Content-Type": "image/png", "X-Tenant": "blue", "X-Request-Id": "r" },
    body: Buffer.from([0xff, 0, 1]),
  });
  assert.equal(response.status, 202);
  const { messageId } = (await response.json()) as { messageId: string };
  assert.deepEqual(api.published, [
    { messageId, body: Buffer.from([0xff, 0, 1]), contentType: "image/png", headers: { "x-tenant": "blue" } },
  ]);
  assert.deepEqual((await api.send("GET", "/api/v1/queues/orders")).body, { queue: "orders", ready: 1, unacked: 0, dead: 0 });
  assert.equal((await api.fetch("/api/v1/queues/orders/messages", { method: "POST" })).status, 202, "an empty message");
  for (const queue of ["nope", "%2e%2e", "amq.x"]) {
    const unknown = await api.fetch(`/api/v1/queues/${queue}/messages`, { method: "POST", body: "x" });
    assert.ok([404, 400].includes(unknown.status), queue);
  }
  assert.equal((await api.send("GET", "/api/v1/queues/nope")).body.code, "QUEUE_NOT_FOUND");
  const large = await api.fetch("/api/v1/queues/orders/messages", { method: "POST", body: Buffer.alloc(6_291_457) });
  assert.equal(large.status, 413);
});

test("/ sends browsers to the docs, which load nothing and run nothing", async (t) => {
  const api = await openApiServer(t);
  const root = await api.fetch("/", { redirect: "manual" });
  assert.equal(root.status, 302);
  assert.equal(root.headers.get("location"), "/docs");
  const docs = await api.fetch("/docs");
  const page = await docs.text();
  assert.match(docs.headers.get("content-security-policy") ?? "", /default-src 'none'; style-src 'sha256-/);
  assert.ok(!/<script|src=/.test(page));
  // Its samples go to where the reader is, and nothing else has an address.
  const addresses = new Set([...page.matchAll(/https?:\/\/[^/<\s]+/g)].map(([address]) => address));
  assert.deepEqual([...addresses], [api.url]);
  assert.match(page, /Create a function/);
});
