import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { openPlatform, uniquePath } from "./support/platform.ts";
import { type EventVector, handlerCode, RUNTIMES, VECTORS } from "./support/vectors.ts";

const platform = await openPlatform();

/** What a request to the vectors' echo was seen as. */
// oxlint-disable-next-line typescript/no-explicit-any -- whatever the function says it saw
type Seen = { event: any; rawBodyBase64: string };

const EVENT_FIELDS = ["body", "headers", "isBase64Encoded", "method", "params", "path", "query", "requestId", "trigger"];

for (const runtime of RUNTIMES) {
  describe(`the event in ${runtime}`, { concurrency: 8 }, () => {
    const path = uniquePath();
    let name = "";
    before(async () => {
      const triggers = ["", "/:id", "/:id/rest/*"].map((rest) => ({ type: "http", config: { path: `${path}${rest}` } }));
      name = await platform.deploy({ runtime, code: handlerCode("echo", runtime), triggers, concurrency: 16 });
    });

    for (const vector of VECTORS.events.filter(comesByHttp)) {
      test(`has, of ${vector.name}, what is fixed`, () => checkVector(name, vector));
    }

    test("has exactly the documented fields and the additions", async () => {
      const { event } = (await platform.call(name)).json as Seen;
      assert.deepEqual(Object.keys(event).sort(), EVENT_FIELDS);
    });

    test("has the raw path, the query as URLSearchParams reads it, and joined headers", async () => {
      const answer = await platform.call(name, "/a%2Fb/%C3%A9/?a=1&b=x&b=y+z&e&%C3%A9=%F0%9F%98%80&bad=%zz", {
        headers: { "X-Twice": ["1", "2"], Cookie: ["a=1", "b=2"], "X-Empty": "" },
      });
      const { event } = answer.json as Seen;
      assert.deepEqual([event.method, event.path, event.body], ["GET", "/a%2Fb/%C3%A9/", null]);
      assert.deepEqual(
        event.query,
        Object.fromEntries([
          ["a", "1"],
          ["b", ["x", "y z"]],
          ["e", ""],
          ["é", "😀"],
          ["bad", "%zz"],
        ]),
      );
      assert.deepEqual([event.headers["x-twice"], event.headers["cookie"], event.headers["x-empty"]], ["1, 2", "a=1; b=2", ""]);
    });

    test("tells invocations, /fn and triggers apart, each with its path", async () => {
      const seen = await Promise.all([
        platform.invoke(name, {}).then(({ json }) => json.body as Seen),
        platform.call(name).then(({ json }) => json as Seen),
        platform.call(name, "/").then(({ json }) => json as Seen),
        platform.call(name, "/deep/er").then(({ json }) => json as Seen),
        platform.send({ path: `${path}/%61b%2Fc?x=1` }).then(({ json }) => json as Seen),
        platform.send({ path: `${path}/1/rest/a/%2E-/`, method: "PUT", body: [1] }).then(({ json }) => json as Seen),
      ]);
      assert.deepEqual(
        seen.map(({ event: { method, path: at, params, trigger } }) => [method, at, params, trigger]),
        [
          ["POST", "/invoke", {}, { type: "invoke" }],
          ["GET", "/", {}, { type: "http" }],
          ["GET", "/", {}, { type: "http" }],
          ["GET", "/deep/er", {}, { type: "http" }],
          ["GET", `${path}/%61b%2Fc`, { id: "ab/c" }, { type: "http" }],
          ["PUT", `${path}/1/rest/a/%2E-/`, { id: "1" }, { type: "http" }],
        ],
      );
    });

    test("says by which way a request came, in headers that no caller can forge", async () => {
      const headers = { "x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "gopher", "x-forwarded-host": "evil.example" };
      const { event } = (await platform.call(name, "/", { headers })).json as Seen;
      const { "x-forwarded-for": from, "x-forwarded-proto": proto, "x-forwarded-host": host } = event.headers;
      assert.doesNotMatch(from, /6\.6\.6\.6/);
      assert.deepEqual([proto, host], [new URL(platform.url).protocol.slice(0, -1), platform.host]);
    });

    test("has the caller's request id, and a new one where that is no sane one", async () => {
      const sane = await platform.call(name, "/", { headers: { "x-request-id": "order-7/retry:2" } });
      assert.deepEqual([(sane.json as Seen).event.requestId, sane.headers["x-request-id"]], ["order-7/retry:2", "order-7/retry:2"]);
      for (const id of ["a b", "<script>", "x".repeat(300), "é"]) {
        const answer = await platform.call(name, "/", { headers: { "x-request-id": id } });
        const { requestId } = (answer.json as Seen).event;
        assert.match(requestId, /^[A-Za-z0-9._:/+=-]{8,128}$/);
        assert.notEqual(requestId, id);
        assert.equal(answer.headers["x-request-id"], requestId);
      }
    });

    test("has a body of chunks as one, and every method's", async () => {
      for (const method of ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"]) {
        const headers = { "content-type": "text/plain", "transfer-encoding": "chunked" };
        const { event } = (await platform.call(name, "/", { method, body: "gr\u00fc\u00df", headers: { ...headers } })).json as Seen;
        assert.deepEqual([event.method, event.body], [method, "grüß"]);
      }
    });

    test("has megabytes unharmed", async () => {
      const bytes = Buffer.alloc(3 * 1024 * 1024, Buffer.from([0, 1, 2, 253, 254, 255, 13, 10]));
      const answer = await platform.call(name, "/", { method: "POST", body: bytes, headers: { "content-type": "application/zip" } });
      // What comes back is twice as base64, and too large to be collected: the limit holds for answers, too.
      assert.deepEqual([answer.status, answer.json.code], [502, "RESPONSE_TOO_LARGE"]);
      const half = bytes.subarray(0, 2 * 1024 * 1024);
      const { event, rawBodyBase64 } = (
        await platform.call(name, "/", { method: "POST", body: half, headers: { "content-type": "application/zip" } })
      ).json as Seen;
      assert.equal(event.isBase64Encoded, true);
      assert.ok(Buffer.from(event.body, "base64").equals(half));
      assert.ok(Buffer.from(rawBodyBase64, "base64").equals(half));
    });
  });
}

/** Others need another trigger, or a head that HTTP does not carry. */
function comesByHttp({ call: { meta } }: EventVector): boolean {
  return meta.id === "vector-1" && (meta.trigger.type === "invoke" || meta.path === "/hook");
}

async function checkVector(name: string, { call, expectedEvent, expectedError }: EventVector): Promise<void> {
  const { meta, bodyBase64 } = call;
  const isInvoke = meta.trigger.type === "invoke";
  const { host: _host, ...headers } = meta.headers;
  const answer = await platform.send({
    method: meta.method,
    path: isInvoke ? `/api/v1/functions/${name}/invoke` : `/fn/${name}${meta.path}`,
    headers: { ...headers, "x-request-id": "vector-1" },
    body: Buffer.from(bodyBase64, "base64"),
  });
  if (expectedError !== undefined) {
    assert.deepEqual([answer.status, answer.json.error, answer.json.code], [400, expectedError.message, expectedError.code]);
    return;
  }
  assert.equal(answer.status, 200, answer.text);
  const seen = (isInvoke ? answer.json.body : answer.json) as Seen;
  assert.equal(seen.rawBodyBase64, bodyBase64);
  const { headers: expectedHeaders, ...expected } = expectedEvent ?? {};
  const { headers: seenHeaders, ...rest } = seen.event;
  assert.deepEqual(rest, expected);
  assert.equal(seenHeaders["content-type"], (expectedHeaders as Record<string, string>)["content-type"]);
}

describe("a function's own host", { concurrency: 4 }, () => {
  let name = "";
  before(async () => {
    name = await platform.deploy({ code: "exports.handler = ({ method, path, trigger }) => ({ method, path, trigger });" });
  });

  const HOSTS = [
    ".kube-serverless.svc.cluster.local",
    ".kube-serverless.svc.cluster.local:80",
    ".kube-serverless.svc",
    ".kube-serverless",
    ".kube-serverless:8080",
    ".KUBE-serverless.svc.Cluster.Local",
    ".kube-serverless.svc.cluster.local.",
  ];
  for (const suffix of HOSTS) {
    test(`(<name>${suffix}) leads to it, whatever the path`, async () => {
      for (const path of ["/", "/health", "/api/v1/functions", "/deep/er"]) {
        const answer = await platform.send({ path, headers: { host: `${name}${suffix}` } });
        assert.equal(answer.status, 200, answer.text);
        assert.deepEqual(answer.json, { method: "GET", path, trigger: { type: "http" } });
      }
    });
  }

  test("is that of the status", async () => {
    const { endpoint } = (await platform.get(`/functions/${name}`)).json.status;
    assert.equal((await platform.send({ path: "/x", headers: { host: endpoint } })).json.path, "/x");
  });

  test("of no function is 404", async () => {
    const answer = await platform.send({ path: "/health", headers: { host: "absent-of-all.kube-serverless.svc.cluster.local" } });
    assert.deepEqual([answer.status, answer.json.code], [404, "FUNCTION_NOT_FOUND"]);
  });

  test("stands in absolute form for the Host header", async () => {
    const connection = await platform.connect();
    connection.write(
      `GET http://${name}.kube-serverless/there HTTP/1.1\r\nHost: ${platform.host}\r\n${platform.client.authorizationLines}Connection: close\r\n\r\n`,
    );
    const response = await connection.read();
    assert.deepEqual([response.status, JSON.parse(response.body).path], [200, "/there"]);
    connection.destroy();
  });
});
