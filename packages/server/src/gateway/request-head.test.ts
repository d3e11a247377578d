import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { readRequestHead } from "./request-head.ts";

function credentialsOf(rawHeaders: string[]) {
  return readRequestHead({ httpVersionMajor: 1, httpVersionMinor: 1, rawHeaders } as IncomingMessage).credentials;
}

test("credentials are read from the raw headers, those sent twice together", () => {
  const raw = ["Host", "x", "AUTHORIZATION", "Bearer a", "X-Api-Key", "1", "authorization", "Bearer b", "x-api-key", "2"];
  assert.deepEqual(credentialsOf(raw), { authorization: "Bearer a, Bearer b", "x-api-key": "1, 2" });
  assert.deepEqual(credentialsOf(["Host", "x", "Accept", "*/*"]), {});
});
