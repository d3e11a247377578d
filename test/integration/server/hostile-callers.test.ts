import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { startServer, type TestServer, waitFor } from "../../support/server.ts";

const JSON_TYPE = { "content-type": "application/json" };

/** Sends bytes on a connection of its own and resolves with what came back until the server closed it. */
function exchange(port: number, text: string, later?: { text: string; afterMs: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    if (later !== undefined) setTimeout(() => socket.write(later.text), later.afterMs);
    // The caller never closes by itself.
    socket.on("data", (chunk: Buffer) => (received += chunk.toString()));
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}

/** Sends bytes and cuts the connection by a reset. */
function sendAndReset(port: number, text: string, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text, () => setTimeout(() => socket.resetAndDestroy(), delayMs)));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
  });
}

/** More than a frame carries once it is JSON, and less than HTTP's 32 KiB. */
function buildLongQuery(): string {
  return Array.from({ length: 7900 }, (_, index) => index.toString(36).padStart(3, "0")).join("&");
}

describe("callers that misbehave below the API", () => {
  let server: TestServer;

  before(async () => {
    server = await startServer();
    const code = "exports.handler = async (event) => Object.keys(event.query).length;";
    const body = JSON.stringify({ name: "count", runtime: "nodejs18", handler: "index.handler", code });
    const created = await fetch(`${server.api}/functions`, { method: "POST", headers: JSON_TYPE, body });
    assert.equal(created.status, 201);
    await waitFor("the deploy", async () => (await readStatus("count")).state === "running");
  });
  after(() => server.stop());

  async function readStatus(name: string): Promise<{ state: string }> {
    const response = await fetch(`${server.api}/functions/${name}`);
    return ((await response.json()) as { status: { state: string } }).status;
  }

  async function assertServes(): Promise<void> {
    const response = await fetch(`${server.url}/fn/count?a=1&b=2`);
    assert.equal(response.status, 200);
    assert.equal(await response.text(), "2");
    const scaling = (await (await fetch(`${server.api}/functions/count/scaling`)).json()) as { inFlight: number; queued: number };
    assert.equal(scaling.inFlight, 0);
    assert.equal(scaling.queued, 0);
  }

  test("a slow upload is no wait for a place, and no cold start when a replica was ready before it ended", async () => {
    const head = "POST /fn/count?a=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    const answer = await exchange(server.port, head, { text: "{}", afterMs: 1500 });
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.ok(Number(/queue;dur=([\d.]+)/.exec(answer)?.[1]) < 1000, answer);
    assert.match(answer, /X-Cold-Start: false/);
  });

  test("CONNECT that is reset while it is refused harms nobody", async () => {
    const request = "CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (let round = 0; round < 20; round++) await sendAndReset(server.port, request, round % 4);
    await assertServes();
  });

  test("CONNECT and what is no HTTP are answered and closed, though the caller keeps its side open", async () => {
    const request = "CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert.match(await exchange(server.port, request), /^HTTP\/1\.1 405 /);
    assert.match(await exchange(server.port, "NONSENSE\r\n\r\n"), /^HTTP\/1\.1 400 /);
  });

  test("a query that no frame can carry is refused with 431, with and without a body", async () => {
    const url = `${server.url}/fn/count?${buildLongQuery()}`;
    for (const init of [{ method: "GET" }, { method: "POST", body: "{}", headers: JSON_TYPE }]) {
      const response = await fetch(url, init);
      assert.equal(response.status, 431, init.method);
      const { code, details } = (await response.json()) as { code: string; details: { limitBytes: number; bytes: number } };
      assert.equal(code, "HEADERS_TOO_LARGE");
      assert.ok(details.bytes > details.limitBytes);
    }
    await assertServes();
  });
});
