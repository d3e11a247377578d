import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform } from "./support/platform.ts";

const KEEP_ALIVE_MS = 1500;
const platform = await openPlatform({ flags: ["--keep-alive-timeout", `${KEEP_ALIVE_MS}ms`] });
const needsOwn = platform.isOwn ? false : "needs a server with short limits, which the suite starts itself";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Says which replica answered. */
const SLEEPING = `const id = Math.random(); exports.handler = async ({ body }) => {
  if (body.exit) process.exit(1);
  await (body.stay ? new Promise(() => {}) : new Promise((resolve) => setTimeout(resolve, body.ms ?? 0)));
  return id;
};`;

describe("the time of a call", { concurrency: 4 }, () => {
  test("is its handler's alone: waiting for a place does not count", async () => {
    const name = await platform.deploy({ code: SLEEPING, concurrency: 1, maxReplicas: 1, timeout: 1 });
    const answers = await Promise.all([700, 700, 700].map((ms) => platform.invoke(name, { ms })));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    const queuedMs = answers.map(({ headers }) => Number(/queue;dur=([\d.]+)/.exec(String(headers["server-timing"]))?.[1]));
    assert.ok(Math.max(...queuedMs) > 1200, queuedMs.join());
    for (const { headers } of answers) assert.ok(Number(headers["x-function-duration"]) < 1);
  });

  test("of a stream is that to its first byte", async () => {
    const code = `exports.handler = async () => (async function* () {
      await new Promise((resolve) => setTimeout(resolve, 100)); yield 'first'; await new Promise((resolve) => setTimeout(resolve, 900)); yield 'last';
    })();`;
    const name = await platform.deploy({ code });
    const { headers, text } = await platform.call(name);
    const seconds = Number(headers["x-function-duration"]);
    assert.equal(text, "firstlast");
    assert.ok(seconds >= 0.09 && seconds < 0.9, String(seconds));
  });
});

describe("a replica", { concurrency: 4 }, () => {
  test("in which a call timed out takes no new calls, and lets the others in it end", async () => {
    const name = await platform.deploy({ code: SLEEPING, timeout: 1.5 });
    const { body: id } = (await platform.invoke(name, {})).json;
    const staying = platform.invoke(name, { stay: true });
    await sleep(900);
    const beside = platform.invoke(name, { ms: 1200 });
    assert.equal((await staying).status, 504);
    const next = await platform.invoke(name, {});
    assert.equal(next.status, 200);
    assert.notEqual(next.json.body, id);
    assert.deepEqual([(await beside).status, (await beside).json.body], [200, id]);
  });

  test("that ends leaves calls that had not reached it to another one", async () => {
    const name = await platform.deploy({ code: SLEEPING, concurrency: 1, maxReplicas: 1 });
    await platform.invoke(name, {});
    const running = platform.invoke(name, { ms: 400 });
    await waitFor("the call to run", async () => (await platform.get(`/functions/${name}/scaling`)).json.inFlight === 1);
    const ending = platform.invoke(name, { exit: true });
    await sleep(50);
    const waiting = Array.from({ length: 5 }, () => platform.invoke(name, {}));
    assert.equal((await running).status, 200);
    assert.equal((await ending).json.code, "FUNCTION_CRASHED");
    for (const answer of await Promise.all(waiting)) assert.equal(answer.status, 200, answer.text);
  });
});

describe("a connection", { concurrency: 4 }, () => {
  const head = (line: string): string => `${line} HTTP/1.1\r\nHost: ${platform.host}\r\n${platform.client.authorizationLines}`;

  test("is kept, and closed once nothing came for long enough", { skip: needsOwn }, async () => {
    const connection = await platform.connect();
    for (let i = 0; i < 3; i++) {
      connection.write(`${head("GET /health")}\r\n`);
      assert.equal((await connection.read()).status, 200);
      await sleep(200);
    }
    assert.equal(connection.ended, false);
    assert.equal(await connection.closes(KEEP_ALIVE_MS + 5000), true);
    connection.destroy();
  });

  test("goes on after a request that was answered before its body had come", async () => {
    const connection = await platform.connect();
    connection.write(`${head("PUT /api/v1/functions/absent-of-all")}Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n`);
    assert.equal((await connection.read()).status, 404);
    connection.write(" ".repeat(100_000));
    connection.write(`${head("GET /health")}\r\n`);
    assert.equal((await connection.read()).status, 200);
    connection.destroy();
  });

  test("to localhost reaches the same server, by IPv4 and by IPv6", { skip: needsOwn }, async (t) => {
    const { port } = new URL(platform.url);
    for (const address of ["127.0.0.1", "[::1]", "localhost"]) {
      const answer = await fetch(`http://${address}:${port}/health`).catch((error: { cause?: { code?: string } }) => error.cause?.code);
      if (answer === "EADDRNOTAVAIL") return t.skip("the machine has no IPv6");
      assert.deepEqual(await (answer as Response).json(), { status: "healthy" }, address);
    }
  });
});

describe("traceparent", { concurrency: 2 }, () => {
  test("is passed on, its trace kept", async () => {
    const name = await platform.deploy({ code: "exports.handler = ({ headers }) => headers.traceparent ?? null;" });
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const answer = await platform.call(name, "/", { headers: { traceparent: `00-${trace}-b7ad6b7169203331-01` } });
    assert.match(answer.text, new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
  });

  test("that is none harms nothing", async () => {
    const name = await platform.deploy({ code: "exports.handler = () => 'fine';" });
    for (const traceparent of ["x", "00-0-0-0", `ff-${"0".repeat(32)}-${"0".repeat(16)}-00`]) {
      assert.equal((await platform.call(name, "/", { headers: { traceparent } })).text, "fine");
    }
  });
});

describe("every error", { concurrency: 4 }, () => {
  test("has error, code and requestId, perhaps details, and nothing else", async () => {
    const name = await platform.deploy({
      code: "exports.handler = ({ body }) => { if (body.exit) process.exit(1); throw new Error('x'); };",
    });
    const answers = await Promise.all([
      platform.get("/functions/absent-of-all"),
      platform.control("POST", "/functions", "{"),
      platform.control("POST", "/functions", {}),
      platform.control("PATCH", "/functions"),
      platform.send({ path: "/nothing-is-here" }),
      platform.send({ path: "/%zz" }),
      platform.invoke(name, {}),
      platform.invoke(name, { exit: true }),
      platform.call(name, "/", { method: "POST", body: {} }),
    ]);
    for (const { status, json, headers } of answers) {
      const { error, code, requestId, details: _details, ...rest } = json;
      assert.ok(status >= 400);
      assert.deepEqual([typeof error, rest], ["string", {}]);
      assert.match(code, /^[A-Z_]+$/);
      assert.equal(requestId, headers["x-request-id"]);
      assert.match(String(headers["content-type"]), /^application\/json/);
    }
  });
});
