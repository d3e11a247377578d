import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Answer } from "./support/client.ts";
import { openPlatform } from "./support/platform.ts";
import { handlerCode, type ResponseVector, RUNTIMES, VECTORS } from "./support/vectors.ts";

const platform = await openPlatform();

const CONTENT_TYPES = { json: "application/json", text: "text/plain; charset=utf-8", binary: "application/octet-stream", none: undefined };
/** What the platform adds to every call's answer. */
const OURS = ["date", "connection", "keep-alive", "content-length", "server-timing", "x-request-id", "x-cold-start"];

/** Headers that the function set, in order, as pairs. */
function functionHeaders({ rawHeaders }: Answer): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i] ?? "", rawHeaders[i + 1] ?? ""]);
  return pairs.filter(([name]) => !OURS.includes(name.toLowerCase()) && !name.toLowerCase().startsWith("x-function-"));
}

for (const runtime of RUNTIMES) {
  describe(`what a function in ${runtime} returns`, { concurrency: 8 }, () => {
    let name = "";
    before(async () => {
      name = await platform.deploy({ runtime, code: handlerCode("identity", runtime), concurrency: 16 });
    });
    for (const vector of VECTORS.responses.filter(({ returns }) => "value" in returns)) {
      test(`(${vector.name}) is answered by /fn and by invoke`, async () => {
        const body = JSON.stringify(vector.returns.value);
        const headers = { "content-type": "application/json" };
        checkPlain(await platform.call(name, "/", { method: "POST", headers, body }), vector);
        checkEnvelope(await platform.invoke(name, body, headers), vector);
      });
    }
  });
}

function checkError(answer: Answer, { expected }: ResponseVector): void {
  assert.deepEqual([answer.status, answer.json.code], [500, expected.error?.code], answer.text);
  if (expected.error?.message !== undefined) assert.equal(answer.json.error, `Internal server error: ${expected.error.message}`);
  assert.ok(String(answer.json.error).includes(expected.error?.messageIncludes ?? ""), answer.text);
}

function checkPlain(answer: Answer, vector: ResponseVector): void {
  const { expected } = vector;
  if (expected.error !== undefined) return checkError(answer, vector);
  assert.equal(answer.status, expected.status, answer.text);
  if (expected.bodyText !== undefined) assert.equal(answer.text, expected.bodyText);
  if (expected.bodyBase64 !== undefined) assert.equal(answer.bytes.toString("base64"), expected.bodyBase64);
  if (expected.json !== undefined) assert.deepEqual(answer.json, expected.json);
  if (expected.kind === "none") assert.equal(answer.bytes.length, 0);
  const set = pairsOf(expected.headers ?? []);
  const type = CONTENT_TYPES[expected.kind ?? "none"];
  const hasType = set.some(([header]) => header.toLowerCase() === "content-type");
  const wanted = hasType || type === undefined ? set : [...set, ["Content-Type", type]];
  assert.deepEqual(functionHeaders(answer), wanted);
}

function checkEnvelope(answer: Answer, vector: ResponseVector): void {
  const { expected } = vector;
  if (expected.error !== undefined) return checkError(answer, vector);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.headers["content-type"], "application/json; charset=utf-8");
  const { statusCode, body, headers, isBase64Encoded, ...rest } = answer.json;
  assert.deepEqual([statusCode, rest], [expected.status, {}]);
  assert.equal(isBase64Encoded, expected.kind === "binary" ? true : undefined);
  if (expected.kind === "none") assert.equal(body, null);
  else if (expected.kind === "json") assert.deepEqual(body, expected.json ?? JSON.parse(expected.bodyText ?? ""));
  else assert.equal(body, expected.kind === "binary" ? expected.bodyBase64 : expected.bodyText);
  const byName: Record<string, string | string[]> = {};
  for (const [header, value] of pairsOf(expected.headers ?? []))
    byName[header] = header in byName ? [byName[header] ?? "", value].flat() : value;
  assert.deepEqual(headers ?? {}, byName);
}

function pairsOf(list: readonly string[]): [string, string][] {
  return Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i] ?? "", list[2 * i + 1] ?? ""]);
}

const NODEJS = `
const { Readable } = require('node:stream');
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const returns = {
  nothing: () => undefined,
  nan: () => ({ a: NaN, b: [Infinity, 1] }),
  bytes: () => Buffer.from([0, 1, 255]),
  png: () => ({ statusCode: 200, headers: { 'Content-Type': 'image/png' }, body: new Uint8Array([137, 80]) }),
  framed: () => ({ statusCode: 200, headers: { 'content-length': 3, 'transfer-encoding': 'chunked', connection: 'close', 'keep-alive': 'x', te: 'x', trailer: 'x',
    upgrade: 'x', 'X-Request-Id': 'forged', 'x-function-duration': '99', 'x-cold-start': 'maybe', 'X-Mine': 'kept' }, body: 'whole body' }),
  stream: () => Readable.from((async function* () { for (const piece of ['one ', 'two ', 'three']) { yield piece; await pause(150); } })()),
  iterable: () => ({ statusCode: 206, headers: { 'content-type': 'text/csv' }, body: (async function* () { yield 'a,'; yield Buffer.from('b'); })() }),
  large: () => (async function* () { for (let i = 0; i < 160; i++) yield Buffer.alloc(65536, 97); })(),
  collected: () => 'x'.repeat(6 * 1024 * 1024 + 1),
};
exports.handler = (event) => returns[event.body?.what ?? event.query.what]();
`;
const PYTHON = `
import time
def pieces():
    for piece in ("one ", "two ", "three"):
        yield piece
        time.sleep(0.15)
def large():
    for _ in range(160):
        yield b"a" * 65536
def csv():
    yield "a,"
    yield b"b"
def framed():
    return {"statusCode": 200, "headers": {"content-length": 3, "transfer-encoding": "chunked", "connection": "close", "keep-alive": "x", "te": "x", "trailer": "x",
        "upgrade": "x", "X-Request-Id": "forged", "x-function-duration": "99", "x-cold-start": "maybe", "X-Mine": "kept"}, "body": "whole body"}
def png():
    return {"statusCode": 200, "headers": {"Content-Type": "image/png"}, "body": bytes([137, 80])}
def iterable():
    return {"statusCode": 206, "headers": {"content-type": "text/csv"}, "body": csv()}
returns = {
    "nothing": lambda: None,
    "nan": lambda: {"a": float("nan"), "b": [float("inf"), 1]},
    "bytes": lambda: bytes([0, 1, 255]),
    "png": png, "framed": framed, "stream": pieces, "iterable": iterable, "large": large,
    "collected": lambda: "x" * (6 * 1024 * 1024 + 1),
}
def handler(event):
    body = event["body"] or {}
    return returns[body.get("what") or event["query"]["what"]]()
`;
const GO = `package main

import (
	"io"
	"math"
	"strings"
	"time"
)

type slow struct{ pieces []string }

func (s *slow) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	time.Sleep(150 * time.Millisecond)
	return n, nil
}

func Handler(event map[string]any) (any, error) {
	what, _ := event["query"].(map[string]any)["what"].(string)
	if body, ok := event["body"].(map[string]any); ok {
		what, _ = body["what"].(string)
	}
	switch what {
	case "nan":
		return map[string]any{"a": math.NaN(), "b": []any{math.Inf(1), 1}}, nil
	case "bytes":
		return []byte{0, 1, 255}, nil
	case "png":
		return map[string]any{"statusCode": 200, "headers": map[string]any{"Content-Type": "image/png"}, "body": []byte{137, 80}}, nil
	case "framed":
		headers := map[string]any{"content-length": 3, "transfer-encoding": "chunked", "connection": "close", "keep-alive": "x", "te": "x", "trailer": "x",
			"upgrade": "x", "X-Request-Id": "forged", "x-function-duration": "99", "x-cold-start": "maybe", "X-Mine": "kept"}
		return map[string]any{"statusCode": 200, "headers": headers, "body": "whole body"}, nil
	case "stream":
		return &slow{[]string{"one ", "two ", "three"}}, nil
	case "iterable":
		return map[string]any{"statusCode": 206, "headers": map[string]any{"content-type": "text/csv"}, "body": strings.NewReader("a,b")}, nil
	case "large":
		return strings.NewReader(strings.Repeat("a", 160*65536)), nil
	case "collected":
		return strings.Repeat("x", 6*1024*1024+1), nil
	}
	return nil, nil
}
`;
const CODES = { nodejs18: NODEJS, python39: PYTHON, go119: GO };

for (const runtime of RUNTIMES) {
  describe(`a response of ${runtime}`, { concurrency: 4 }, () => {
    let name = "";
    before(async () => {
      name = await platform.deploy({ runtime, code: CODES[runtime], concurrency: 8 });
    });
    const plain = (what: string, method = "GET"): Promise<Answer> => platform.call(name, `/?what=${what}`, { method });
    const invoke = (what: string): Promise<Answer> => platform.invoke(name, { what });

    test("that is nothing is null", async () => {
      const answer = await plain("nothing");
      assert.deepEqual([answer.status, answer.text, answer.headers["content-type"]], [200, "null", "application/json"]);
      assert.deepEqual((await invoke("nothing")).json, { statusCode: 200, body: null });
    });

    test("with a number that is not finite has null there", async () => {
      assert.deepEqual((await plain("nan")).json, { a: null, b: [null, 1] });
    });

    test("of bytes is octets, and base64 within an envelope", async () => {
      const answer = await plain("bytes");
      assert.deepEqual([answer.headers["content-type"], [...answer.bytes]], ["application/octet-stream", [0, 1, 255]]);
      assert.deepEqual((await invoke("bytes")).json, { statusCode: 200, body: "AAH/", isBase64Encoded: true });
    });

    test("keeps the function's own content type", async () => {
      const answer = await plain("png");
      assert.deepEqual([answer.headers["content-type"], [...answer.bytes]], ["image/png", [137, 80]]);
      const envelope = { statusCode: 200, headers: { "Content-Type": "image/png" }, body: "iVA=", isBase64Encoded: true };
      assert.deepEqual((await invoke("png")).json, envelope);
    });

    test("is framed by the platform, whose own headers no function sets", async () => {
      const answer = await plain("framed");
      assert.equal(answer.text, "whole body");
      assert.deepEqual(functionHeaders(answer), [
        ["X-Mine", "kept"],
        ["Content-Type", "text/plain; charset=utf-8"],
      ]);
      assert.equal(answer.headers["content-length"], "10");
      assert.notEqual(answer.headers["x-request-id"], "forged");
      assert.notEqual(answer.headers["x-function-duration"], "99");
      assert.match(String(answer.headers["x-cold-start"]), /^(true|false)$/);
      assert.deepEqual((await invoke("framed")).json, { statusCode: 200, headers: { "X-Mine": "kept" }, body: "whole body" });
    });

    test("streams: the first piece is there long before the last", async () => {
      const { response } = await platform.client.open({ path: `/fn/${name}/?what=stream` });
      const pieces: { text: string; atMs: number }[] = [];
      for await (const chunk of response) pieces.push({ text: String(chunk), atMs: performance.now() });
      assert.equal(pieces.map(({ text }) => text).join(""), "one two three");
      assert.equal(response.headers["transfer-encoding"], "chunked");
      const [first, last] = [pieces[0]?.atMs ?? 0, pieces.at(-1)?.atMs ?? 0];
      assert.ok(pieces.length > 1 && last - first > 100, JSON.stringify(pieces));
    });

    test("streams with the function's status and headers, and is collected by invoke", async () => {
      const answer = await plain("iterable");
      assert.deepEqual([answer.status, answer.headers["content-type"], answer.text], [206, "text/csv", "a,b"]);
      const { statusCode, headers, body, isBase64Encoded } = (await invoke("iterable")).json;
      assert.deepEqual([statusCode, headers], [206, { "content-type": "text/csv" }]);
      assert.equal(isBase64Encoded === true ? Buffer.from(body, "base64").toString() : body, "a,b");
    });

    test("over 6 MiB passes where it streams", async () => {
      const answer = await plain("large");
      assert.deepEqual([answer.status, answer.bytes.length], [200, 160 * 65_536]);
    });

    test("over 6 MiB is refused where it is collected, naming the limit", async () => {
      for (const answer of [await invoke("large"), await invoke("collected"), await plain("collected")]) {
        assert.deepEqual([answer.status, answer.json.code], [502, "RESPONSE_TOO_LARGE"]);
        assert.match(answer.json.error, /6291456|6 MiB/);
      }
      assert.equal((await plain("nothing")).status, 200);
    });

    test("to HEAD has the length and no body", async () => {
      const answer = await plain("framed", "HEAD");
      assert.deepEqual([answer.status, answer.headers["content-length"], answer.bytes.length], [200, "10", 0]);
      const next = await plain("framed");
      assert.equal(next.text, "whole body");
    });
  });
}

describe("every call's answer", { concurrency: 4 }, () => {
  let name = "";
  before(async () => {
    name = await platform.deploy({
      code: `exports.handler = async ({ query, body }) => {
        await new Promise((resolve) => setTimeout(resolve, Number(query.ms ?? body?.ms ?? 0)));
        return { statusCode: Number(query.status ?? 200), body: query.body === undefined ? undefined : query.body };
      };`,
    });
  });

  test("has the time of the handler in seconds, its revision and the parts of the time", async () => {
    for (const answer of [await platform.call(name, "/?ms=120"), await platform.invoke(name, { ms: 120 })]) {
      const seconds = Number(answer.headers["x-function-duration"]);
      assert.ok(seconds >= 0.115 && seconds < 5, String(seconds));
      assert.equal(answer.headers["x-function-revision"], "1");
      assert.match(String(answer.headers["server-timing"]), /queue;dur=[\d.]+.*handler;dur=1[12]\d|handler;dur=[\d.]+/);
      assert.match(String(answer.headers["x-request-id"]), /^[A-Za-z0-9._:/+=-]{8,128}$/);
    }
  });

  for (const status of [204, 205, 304]) {
    test(`with ${status} has no body, whatever the function returns`, async () => {
      const answer = await platform.call(name, `/?status=${status}&body=text`);
      assert.deepEqual([answer.status, answer.bytes.length], [status, 0]);
      assert.equal((await platform.call(name, "/?body=next")).text, "next");
    });
  }

  for (const status of [200, 201, 302, 404, 418, 500, 503, 599]) {
    test(`has the function's own ${status} where it is plain, and 200 around it where invoked`, async () => {
      const answer = await platform.call(name, `/?status=${status}&body=text`);
      assert.deepEqual([answer.status, answer.text], [status, "text"]);
    });
  }

  test("to OPTIONS is the function's", async () => {
    const answer = await platform.call(name, "/?status=204", { method: "OPTIONS" });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.allow, undefined);
  });

  test("to HEAD of a control route has the length and no body", async () => {
    for (const path of ["/health", "/ready", "/api/v1/health", "/api/v1/functions", `/api/v1/functions/${name}`, "/openapi.json"]) {
      const [head, get] = [await platform.send({ method: "HEAD", path }), await platform.send({ path })];
      assert.deepEqual([head.status, head.bytes.length], [200, 0], path);
      if (path.endsWith("functions") || path.endsWith(name)) continue;
      assert.equal(head.headers["content-length"], String(get.bytes.length), path);
    }
  });
});
