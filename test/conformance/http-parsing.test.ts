import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { openPlatform } from "./support/platform.ts";
import type { RawResponse } from "./support/raw-connection.ts";

const platform = await openPlatform();

let echo = "";
before(async () => {
  echo = await platform.deploy({ code: "exports.handler = ({ path, body, headers }) => ({ path, body, headers });" });
});

const key = platform.client.authorizationLines;

/** Sends bytes and reads the first response; what else comes is shown by `rest`. */
async function exchange(bytes: string): Promise<RawResponse & { rest: string }> {
  const connection = await platform.connect();
  connection.write(bytes);
  const response = await connection.read();
  await connection.closes(100);
  const rest = connection.unread;
  connection.destroy();
  return { ...response, rest };
}

function assertError(response: RawResponse, status: number, code: string): void {
  assert.deepEqual([response.status, JSON.parse(response.body).code], [status, code], response.body);
  assert.match(response.headers["content-type"] ?? "", /^application\/json/);
  const { requestId } = JSON.parse(response.body) as { requestId: string };
  assert.equal(requestId, response.headers["x-request-id"]);
  // One form for all: those answered below HTTP are found in logs like the others.
  assert.match(requestId, /^[A-Za-z0-9]{16}\.[0-9a-z]+$/);
}

const host = `Host: ${platform.host}\r\n`;

describe("malformed HTTP is answered 400 as JSON", { concurrency: 8 }, () => {
  const CASES: [string, (path: string) => string][] = [
    ["no HTTP at all", () => "hello\r\n\r\n"],
    ["a TLS greeting", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
    ["no version", (path) => `GET ${path}\r\n${host}\r\n`],
    ["a version from the future", (path) => `GET ${path} HTTP/3.7\r\n${host}\r\n`],
    ["a space in the path", (path) => `GET ${path}/a b HTTP/1.1\r\n${host}\r\n`],
    ["bytes beyond ASCII in the path", (path) => `GET ${path}/\xd1\x84 HTTP/1.1\r\n${host}\r\n`],
    ["a control character in a header", (path) => `GET ${path} HTTP/1.1\r\n${host}X-A: a\x01b\r\n\r\n`],
    ["NUL in a header", (path) => `GET ${path} HTTP/1.1\r\n${host}X-A: a\0b\r\n\r\n`],
    ["a space before the colon", (path) => `GET ${path} HTTP/1.1\r\n${host}X-A : a\r\n\r\n`],
    ["a header without a colon", (path) => `GET ${path} HTTP/1.1\r\n${host}X-A\r\n\r\n`],
    ["no Host in HTTP/1.1", (path) => `GET ${path} HTTP/1.1\r\n\r\n`],
    ["two Hosts", (path) => `GET ${path} HTTP/1.1\r\n${host}${host}\r\n`],
    ["two different Hosts", (path) => `GET ${path} HTTP/1.1\r\n${host}Host: other.example\r\n\r\n`],
    ["an empty Host", (path) => `GET ${path} HTTP/1.1\r\nHost:\r\n\r\n`],
    ["a Host with a path", (path) => `GET ${path} HTTP/1.1\r\nHost: localhost/x\r\n\r\n`],
    ["a Host with a user", (path) => `GET ${path} HTTP/1.1\r\nHost: a@localhost\r\n\r\n`],
    ["a negative Content-Length", (path) => `POST ${path} HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`],
    ["a Content-Length in hex", (path) => `POST ${path} HTTP/1.1\r\n${host}Content-Length: 0x4\r\n\r\nbody`],
    ["two Content-Lengths", (path) => `POST ${path} HTTP/1.1\r\n${host}Content-Length: 4\r\nContent-Length: 5\r\n\r\nbodyx`],
    ["a chunk size that is none", (path) => `POST ${path} HTTP/1.1\r\n${host}${key}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ["an absolute form that is none", () => `GET ftp://x/y HTTP/1.1\r\n${host}\r\n`],
  ];
  for (const [what, build] of CASES) {
    test(`(${what})`, async () => {
      const response = await exchange(build(`/fn/${echo}`));
      assertError(response, 400, "BAD_REQUEST");
    });
  }
});

describe("smuggled requests", { concurrency: 8 }, () => {
  /** Reached only if two parsers disagree: the path of the second request shows in an answer. */
  const smuggled = (): string => `GET /fn/${echo}/smuggled HTTP/1.1\r\n${host}\r\n`;
  const PAIRS: [string, (path: string) => string][] = [
    [
      "Content-Length and chunks",
      (path) => `POST ${path} HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      "chunks and Content-Length",
      (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n`,
    ],
    [
      "chunked twice",
      (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
    ],
    ["an encoding behind chunked", (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`],
    ["chunked with a vertical tab", (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n`],
    ["xchunked", (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ["a folded header", (path) => `POST ${path} HTTP/1.1\r\n${host}Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`],
    ["a bare line feed in the head", (path) => `POST ${path} HTTP/1.1\r\n${host}Content-Length: 0\nX: y\r\n\r\n`],
    [
      "a chunk extension with a line feed",
      (path) => `POST ${path} HTTP/1.1\r\n${host}${key}Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n`,
    ],
  ];
  for (const [what, build] of PAIRS) {
    test(`(${what}) get no answer of their own`, async () => {
      const response = await exchange(build(`/fn/${echo}`) + smuggled());
      assertError(response, 400, "BAD_REQUEST");
      assert.doesNotMatch(response.body + response.rest, /\/smuggled/);
    });
  }

  test("are none when bytes follow a body: that is pipelining", async () => {
    const connection = await platform.connect();
    connection.write(
      `POST /fn/${echo}/one HTTP/1.1\r\n${host}${key}Content-Length: 1\r\n\r\n1GET /fn/${echo}/two HTTP/1.1\r\n${host}${key}\r\n`,
    );
    const paths = [JSON.parse((await connection.read()).body).path, JSON.parse((await connection.read()).body).path];
    assert.deepEqual(paths, ["/one", "/two"]);
    connection.destroy();
  });
});

describe("a head", { concurrency: 4 }, () => {
  test("over 32 KiB is answered 431 with the limit", async () => {
    const floods = [
      `X-A: ${"a".repeat(40_000)}\r\n`,
      Array.from({ length: 3000 }, (_, i) => `X-${i}: aaaaaaaaaa\r\n`).join(""),
      `Cookie: ${"a=b; ".repeat(8000)}\r\n`,
    ];
    for (const flood of floods) {
      const response = await exchange(`GET /fn/${echo} HTTP/1.1\r\n${host}${flood}\r\n`);
      assertError(response, 431, "HEADERS_TOO_LARGE");
      assert.match(response.body, /32768|32 KiB/);
    }
    const long = await exchange(`GET /${"a".repeat(40_000)} HTTP/1.1\r\n${host}\r\n`);
    assertError(long, 431, "HEADERS_TOO_LARGE");
  });

  test("of 30 KB passes, also with many short headers", async () => {
    const many = Array.from({ length: 1500 }, (_, i) => `X-${i}: ${i}\r\n`).join("");
    const response = await exchange(`GET /fn/${echo} HTTP/1.1\r\n${host}${key}${many}\r\n`);
    assert.equal(response.status, 200, response.body);
    const { headers } = JSON.parse(response.body);
    assert.deepEqual([headers["x-0"], headers["x-1499"]], ["0", "1499"]);
  });

  test("may bear names that objects have already", async () => {
    const response = await exchange(
      `GET /fn/${echo}?__proto__=1 HTTP/1.1\r\n${host}${key}__proto__: x\r\nconstructor: y\r\ntoString: z\r\n\r\n`,
    );
    assert.equal(response.status, 200);
    const { headers } = JSON.parse(response.body);
    assert.deepEqual(
      [Object.getOwnPropertyDescriptor(headers, "__proto__")?.value, headers.constructor, headers.tostring],
      ["x", "y", "z"],
    );
  });
});

describe("requests of other forms", { concurrency: 8 }, () => {
  test("(absolute form) go where their authority says", async () => {
    const toPlatform = await exchange(`GET http://${platform.host}/health HTTP/1.1\r\n${host}\r\n`);
    assert.deepEqual([toPlatform.status, JSON.parse(toPlatform.body)], [200, { status: "healthy" }]);
    const query = await exchange(`GET http://${platform.host}/fn/${echo}/deep?x=1 HTTP/1.1\r\n${host}${key}\r\n`);
    assert.equal(JSON.parse(query.body).path, "/deep");
    const noPath = await exchange(`GET http://${platform.host} HTTP/1.1\r\n${host}\r\n`);
    assert.equal(noPath.status, 302);
  });

  test("(CONNECT) are refused with 405 and Allow, by the caller's id where there is one", async () => {
    const response = await exchange(`CONNECT example.com:443 HTTP/1.1\r\n${host}\r\n`);
    assertError(response, 405, "METHOD_NOT_ALLOWED");
    assert.match(response.headers["allow"] ?? "", /GET/);
    const named = await exchange(`CONNECT example.com:443 HTTP/1.1\r\n${host}X-Request-Id: mine-1\r\n\r\n`);
    assert.deepEqual([named.headers["x-request-id"], JSON.parse(named.body).requestId], ["mine-1", "mine-1"]);
  });

  test("(OPTIONS *) are refused", async () => {
    const response = await exchange(`OPTIONS * HTTP/1.1\r\n${host}\r\n`);
    assert.ok([404, 405].includes(response.status), String(response.status));
    assert.ok(JSON.parse(response.body).error.length > 0);
  });

  test("(unknown methods) of functions and control routes are refused", async () => {
    const known = await exchange(`PROPFIND /api/v1/functions HTTP/1.1\r\n${host}${key}\r\n`);
    assertError(known, 405, "METHOD_NOT_ALLOWED");
    const unknown = await exchange(`BREW /health HTTP/1.1\r\n${host}\r\n`);
    assert.ok([400, 405].includes(unknown.status));
  });

  test("(Upgrade) are answered as if it were not there", async () => {
    for (const upgrade of ["websocket", "h2c", "TLS/1.0"]) {
      const response = await exchange(`GET /fn/${echo}/x HTTP/1.1\r\n${host}${key}Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`);
      assert.deepEqual([response.status, JSON.parse(response.body).path], [200, "/x"], upgrade);
    }
    const control = await exchange(`GET /health HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    assert.equal(control.status, 200);
  });

  test("(HTTP/1.0) need no Host, and get a response that ends with the connection", async () => {
    const connection = await platform.connect();
    connection.write("GET /health HTTP/1.0\r\n\r\n");
    const response = await connection.read();
    assert.deepEqual([response.status, JSON.parse(response.body)], [200, { status: "healthy" }]);
    assert.equal(await connection.closes(5000), true);
  });

  test("(pipelined) are answered in their order, slow ones first where they came first", async () => {
    const slow = await platform.deploy({
      code: "exports.handler = async ({ query }) => { await new Promise((r) => setTimeout(r, Number(query.ms))); return query.ms; };",
    });
    const connection = await platform.connect();
    const get = (ms: number): string => `GET /fn/${slow}?ms=${ms} HTTP/1.1\r\n${host}${key}\r\n`;
    connection.write(`${get(300)}${get(0)}GET /health HTTP/1.1\r\n${host}\r\n${get(1)}`);
    const bodies: string[] = [];
    for (let i = 0; i < 4; i++) bodies.push((await connection.read()).body);
    assert.deepEqual(bodies, ["300", "0", '{"status":"healthy"}', "1"]);
    connection.destroy();
  });

  test("(byte by byte) are understood", async () => {
    const connection = await platform.connect();
    for (const byte of `POST /fn/${echo}/b HTTP/1.1\r\n${host}${key}Content-Length: 2\r\nContent-Type: text/plain\r\n\r\nhi`) {
      connection.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(JSON.parse((await connection.read()).body).body, "hi");
    connection.destroy();
  });
});
