import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform } from "./support/platform.ts";

const platform = await openPlatform();

/** Handlers that send for ever, in every language. */
const ENDLESS = [
  {
    runtime: "nodejs18",
    code: `exports.handler = ({ query }) => query.small ? 'small' : (async function* () { for (;;) yield Buffer.alloc(65536, 1); })();`,
  },
  {
    runtime: "python39",
    handler: "handler",
    code: `def handler(event):
  def pieces():
    while True: yield b"x" * 65536
  return "small" if event["query"].get("small") else pieces()`,
  },
  {
    runtime: "go119",
    handler: "Handler",
    code: `package main
type endless struct{}
func (endless) Read(into []byte) (int, error) { return len(into), nil }
func Handler(event struct{ Query map[string]string }) any {
  if event.Query["small"] != "" { return "small" }
  return map[string]any{"statusCode": 200, "body": endless{}}
}`,
  },
] as const;

const skip = platform.url.startsWith("https:") && "speaks TCP itself";
const HOST_LINES = [`Host: ${platform.host}`, ...Object.entries(platform.client.authorization).map(([name, value]) => `${name}: ${value}`)];

async function connect(): Promise<net.Socket> {
  const { hostname, port } = new URL(platform.url);
  const socket = net.connect({ host: hostname.replaceAll(/^\[|\]$/g, ""), port: Number(port || 80), allowHalfOpen: true });
  await once(socket, "connect");
  return socket;
}

/** A caller that sends its request and reads nothing of the answer until it is told to. */
async function beginDeafCall(path: string): Promise<net.Socket> {
  const socket = await connect();
  socket.pause();
  socket.write([`GET ${path} HTTP/1.1`, ...HOST_LINES, "", ""].join("\r\n"));
  return socket;
}

describe("a caller that never reads a large answer", { skip, concurrency: 3 }, () => {
  for (const { runtime, ...spec } of ENDLESS) {
    test(`of ${runtime} holds its place for no longer than the function's own timeout, and is reset`, async (t) => {
      const name = await platform.deploy({ runtime, ...spec, timeout: 2, concurrency: 1, maxReplicas: 1 });
      const socket = await beginDeafCall(`/fn/${name}`);
      t.after(() => socket.destroy());
      await waitFor("the call to run", async () => (await platform.get(`/functions/${name}/scaling`)).json.inFlight === 1);
      const failed = once(socket, "error").then(([error]) => (error as NodeJS.ErrnoException).code);
      // The one place that there is.
      const next = await platform.call(name, "?small=1");
      assert.deepEqual([next.status, next.text], [200, "small"]);
      socket.resume();
      assert.equal(await failed, "ECONNRESET");
      const metrics = (await platform.get(`/functions/${name}/metrics`)).json;
      assert.deepEqual(metrics.errors, { CLIENT_CLOSED: 1 });
    });
  }

  test("slowly, though it takes something all the time, gets all of it", async (t) => {
    const code = `exports.handler = () => (async function* () { for (let i = 0; i < 160; i++) yield Buffer.alloc(65536, 1); })();`;
    const name = await platform.deploy({ code, timeout: 1, concurrency: 1, maxReplicas: 1 });
    const socket = await beginDeafCall(`/fn/${name}`);
    t.after(() => socket.destroy());
    let bytes = 0;
    let last = "";
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      last = chunk.subarray(-5).toString("latin1");
      socket.pause();
      setTimeout(() => socket.resume(), 20);
    });
    socket.on("end", () => (last = "closed early"));
    const startedMs = performance.now();
    socket.resume();
    await waitFor("all of it", () => last === "0\r\n\r\n", 60_000);
    assert.ok(bytes > 10_485_760, `${bytes} bytes`);
    assert.ok(performance.now() - startedMs > 2_000, "took no longer than the timeout");
  });
});

describe("a caller that ends its side of the connection and reads on", { skip }, () => {
  const CODE = `exports.handler = async ({ body, query }) => (await new Promise((resolve) => setTimeout(resolve, 300)), { body, query });`;

  async function readToEnd(request: string): Promise<string> {
    const socket = await connect();
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.end(request);
    await once(socket, "end");
    return text;
  }

  test("gets its answer from a trigger and from invoke, with a body, and then the connection ends", async () => {
    const name = await platform.deploy({ code: CODE });
    const body = '{"a":1}';
    for (const path of [`/fn/${name}`, `/api/v1/functions/${name}/invoke`]) {
      const lines = [...HOST_LINES, "Content-Type: application/json", `Content-Length: ${body.length}`];
      const text = await readToEnd([`POST ${path} HTTP/1.1`, ...lines, "", body].join("\r\n"));
      const answer = text.replace(/^(?:HTTP\/1\.1 100 Continue\r\n\r\n)+/, "");
      assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/, text);
      assert.match(answer, /\{"a":1\}/);
    }
  });

  test("in HTTP/1.0 gets the answer alone", async () => {
    const name = await platform.deploy({ code: CODE });
    assert.match(
      await readToEnd([`GET /fn/${name}?x=1 HTTP/1.0`, ...HOST_LINES, "", ""].join("\r\n")),
      /^HTTP\/1\.1 200 OK\r\n[\s\S]*"x":"1"/,
    );
  });

  test("before its request is whole is told so", async () => {
    assert.match(await readToEnd(`GET /health HTTP/1.1\r\n${HOST_LINES[0]}`), /^HTTP\/1\.1 400 Bad Request\r\n/);
  });
});
