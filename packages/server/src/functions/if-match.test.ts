import assert from "node:assert/strict";
import { test } from "node:test";
import { satisfiesIfMatch } from "./if-match.ts";

const etag = '"u1-3"';
const cases: [ifMatch: string | undefined, expected: boolean][] = [
  [undefined, true],
  ["*", true],
  [" * ", true],
  ['"u1-3"', true],
  ['"u1-2", "u1-3"', true],
  ['"u1-2"', false],
  ['W/"u1-3"', false],
  ['W/"u1-3", "u1-3"', true],
  ["u1-3", false],
  ["", false],
  ['"a, "u1-3"', false],
];
for (const [ifMatch, expected] of cases) {
  test(`If-Match: ${ifMatch ?? "(none)"} ${expected ? "lets the change through" : "stops it"}`, () => {
    assert.equal(satisfiesIfMatch(ifMatch, etag), expected);
  });
}
