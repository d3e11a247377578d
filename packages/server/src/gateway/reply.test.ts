import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import fc from "fast-check";
import { buildEnvelope } from "./reply.ts";
import { filterFunctionHeaders } from "./reply-head.ts";
import { readRequestId } from "../http/request-id.ts";
import { parseQuery } from "./request-head.ts";

describe("buildEnvelope", () => {
  test("puts JSON in as it came", () => {
    assert.equal(buildEnvelope(200, [], "json", Buffer.from('{"a":1.0}')).toString(), '{"statusCode":200,"body":{"a":1.0}}');
  });

  test("quotes text, encodes bytes, and is null without a body", () => {
    assert.equal(buildEnvelope(404, [], "text", Buffer.from('é"\n')).toString(), '{"statusCode":404,"body":"é\\"\\n"}');
    assert.equal(
      buildEnvelope(200, [], "binary", Buffer.from([1, 255])).toString(),
      '{"statusCode":200,"body":"Af8=","isBase64Encoded":true}',
    );
    assert.equal(buildEnvelope(204, [], "none", Buffer.alloc(0)).toString(), '{"statusCode":204,"body":null}');
  });

  test("shows headers, repeated ones as lists", () => {
    const envelope = buildEnvelope(200, ["X-A", "1", "Set-Cookie", "a=1", "Set-Cookie", "b=2", "__proto__", "x"], "none", Buffer.alloc(0));
    assert.equal(envelope.toString(), '{"statusCode":200,"headers":{"X-A":"1","Set-Cookie":["a=1","b=2"],"__proto__":"x"},"body":null}');
  });

  test("is JSON whatever text the body is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 200, max: 599 }), (text, status) => {
        const body = Buffer.from(text);
        assert.deepEqual(JSON.parse(buildEnvelope(status, [], "text", body).toString()), { statusCode: status, body: body.toString() });
      }),
      { seed: 2 },
    );
  });
});

describe("filterFunctionHeaders", () => {
  test("drops what the platform frames, and what is the platform's own", () => {
    const headers = [
      "Content-Length",
      "5",
      "connection",
      "close",
      "X-Request-Id",
      "1",
      "x-function-duration",
      "9",
      "X-Cold-Start",
      "no",
      "X-Mine",
      "1",
    ];
    assert.deepEqual(filterFunctionHeaders(headers), ["X-Mine", "1"]);
  });

  for (const [name, value] of [
    ["x-a", "1\r\nSet-Cookie: evil=1"],
    ["x-a\r\nb", "1"],
    ["x a", "1"],
    ["", "1"],
    ["x-a", "snow ☃"],
    ["x-a", "nul \0"],
  ]) {
    test(`refuses ${JSON.stringify([name, value])} by name`, () => {
      assert.throws(
        () => filterFunctionHeaders([name!, value!]),
        (error: KsError) => error.code === "FUNCTION_ERROR",
      );
    });
  }

  test("refuses a head over 32 KiB", () => {
    assert.throws(
      () => filterFunctionHeaders(["x-a", "a".repeat(33_000)]),
      (error: KsError) => error.code === "FUNCTION_ERROR",
    );
  });
});

describe("parseQuery", () => {
  test("reads as URLSearchParams does, repeated keys as a list", () => {
    assert.deepEqual(parseQuery("a=1&b=x+y&a=2&a=3&c"), { a: ["1", "2", "3"], b: "x y", c: "" });
  });

  test("has every pair, in order, whatever the names", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.string())), (pairs) => {
        const query = new URLSearchParams(pairs).toString();
        const parsed = parseQuery(query);
        for (const key of new Set(pairs.map(([name]) => name))) {
          const wanted = new URLSearchParams(query).getAll(key.toWellFormed());
          const value = Object.getOwnPropertyDescriptor(parsed, key.toWellFormed())?.value as string | string[];
          assert.deepEqual([value].flat(), wanted);
        }
      }),
      { seed: 4 },
    );
  });
});

test("readRequestId keeps a sane id alone", () => {
  assert.equal(readRequestId("abc-123"), "abc-123");
  for (const bad of ["", "a b", "a\tb", "x".repeat(129), "é", "<script>"]) assert.equal(readRequestId(bad), undefined);
});
