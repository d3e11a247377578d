import assert from "node:assert/strict";
import { test } from "node:test";
import { findDrift } from "./generate.ts";

test("the generated files are what the source gives", () => {
  assert.deepEqual(findDrift(), [], "run npm run generate");
});
