import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Question } from "./support/client.ts";
import { completeWish, openPlatform, uniquePath } from "./support/platform.ts";

const platform = await openPlatform();
/** With authentication a key keeps web pages out; the checks are those of a platform without. */
const skip = await findReasonToSkip();

async function findReasonToSkip(): Promise<string | false> {
  if (platform.client.authorization["authorization"] !== undefined) return "the platform asks for a key, which no web page has";
  // That of the suite itself must check.
  if (platform.isOwn) return false;
  const { status } = await platform.send({ path: "/health", headers: { origin: "https://evil.example" } });
  return status === 200 ? "the platform was told to let everybody in (--insecure-no-auth), web pages among them" : false;
}

let name = "";
const path = uniquePath();
before(async () => {
  name = await platform.deploy({ code: "exports.handler = () => 'reached';", triggers: [{ type: "http", config: { path } }] });
});

const SPEC = JSON.stringify(completeWish({ code: "exports.handler = () => 1;" }));

/** Every kind of route, by a request that would do something. */
function questions(): [string, Question][] {
  return [
    ["deploying", { method: "POST", path: "/api/v1/functions", body: SPEC, headers: { "content-type": "application/json" } }],
    ["deploying by a simple form", { method: "POST", path: "/api/v1/functions", body: SPEC, headers: { "content-type": "text/plain" } }],
    ["listing", { path: "/api/v1/functions" }],
    ["reading code", { path: `/api/v1/functions/${name}` }],
    ["deleting", { method: "DELETE", path: `/api/v1/functions/${name}` }],
    ["invoking", { method: "POST", path: `/api/v1/functions/${name}/invoke`, body: "{}", headers: { "content-type": "text/plain" } }],
    ["calling by /fn", { path: `/fn/${name}` }],
    ["calling a trigger", { path }],
    ["publishing", { method: "POST", path: "/api/v1/queues/any/messages", body: "x", headers: { "content-type": "text/plain" } }],
    ["metrics", { path: "/metrics" }],
    ["health", { path: "/health" }],
    ["the documents", { path: "/docs" }],
    ["a preflight", { method: "OPTIONS", path: "/api/v1/functions", headers: { "access-control-request-method": "POST" } }],
  ];
}

const PAGES: [string, Record<string, string>][] = [
  ["another origin", { origin: "https://evil.example" }],
  ["an origin that begins like ours", { origin: "http://localhost.evil.example" }],
  ["an origin without a name (a sandboxed frame, a file)", { origin: "null" }],
  ["another site, by a link or an image", { "sec-fetch-site": "cross-site" }],
];

describe("a web page of", { concurrency: 4, skip }, () => {
  for (const [what, headers] of PAGES) {
    test(`${what} reaches nothing`, async () => {
      for (const [purpose, question] of questions()) {
        const answer = await platform.send({ ...question, headers: { ...question.headers, ...headers } });
        assert.deepEqual([answer.status, answer.json.code], [403, "FORBIDDEN"], purpose);
        assert.equal(answer.headers["access-control-allow-origin"], undefined);
      }
      assert.equal((await platform.call(name)).text, "reached");
    });
  }
});

describe("a name that was rebound to this address", { concurrency: 4, skip }, () => {
  for (const host of [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0",
    "[::]",
    "10.0.0.1",
  ]) {
    test(`(${host}) reaches nothing`, async () => {
      for (const [purpose, question] of questions()) {
        const answer = await platform.send({ ...question, headers: { ...question.headers, host } });
        assert.deepEqual([answer.status, answer.json.code], [403, "FORBIDDEN"], purpose);
      }
    });
  }

  test("reaches nothing in absolute form either, whatever Host says", async () => {
    const connection = await platform.connect();
    connection.write(`GET http://evil.example/api/v1/functions HTTP/1.1\r\nHost: ${platform.host}\r\n\r\n`);
    assert.equal((await connection.read()).status, 403);
    connection.destroy();
  });
});

describe("who may", { concurrency: 4, skip }, () => {
  const FRIENDS: [string, Record<string, string>][] = [
    ["a program that sends no origin", {}],
    ["a page of this server", { origin: platform.url, "sec-fetch-site": "same-origin" }],
    ["a page of loopback", { origin: "http://localhost:3000", "sec-fetch-site": "same-site" }],
    ["a page of loopback by its address", { origin: "http://127.0.0.1:5173" }],
    ["an address that was typed", { "sec-fetch-site": "none" }],
  ];
  for (const [what, headers] of FRIENDS) {
    test(`reach the API: ${what}`, async () => {
      const answer = await platform.send({ path: "/api/v1/functions", headers });
      assert.equal(answer.status, 200);
    });
  }

  for (const host of ["localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:9", "[::1]:8080", "localhost."]) {
    test(`be meant by Host: ${host}`, async () => {
      assert.equal((await platform.send({ path: "/health", headers: { host } })).status, 200);
    });
  }
});

describe("a browser", { skip }, () => {
  test("cannot be made to deploy by a form: control routes take JSON alone", async () => {
    for (const type of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/json, text/plain",
    ]) {
      const answer = await platform.send({ method: "POST", path: "/api/v1/functions", body: SPEC, headers: { "content-type": type } });
      assert.deepEqual([answer.status, answer.json.code], [415, "UNSUPPORTED_MEDIA_TYPE"], type);
    }
  });

  test("is given nothing to guess, frame or keep", async () => {
    const { headers } = await platform.send({ path: `/api/v1/functions/${name}` });
    assert.equal(headers["cache-control"], "no-store");
    assert.match(String(headers["content-type"]), /^application\/json/);
    const docs = await platform.send({ path: "/docs" });
    assert.match(String(docs.headers["content-security-policy"]), /default-src 'none'.*frame-ancestors 'none'/);
    assert.equal(docs.headers["x-content-type-options"], "nosniff");
  });
});
