import assert from "node:assert/strict";
import { test } from "node:test";
import { parseResult } from "./wrk.ts";

const line = (status: number): string =>
  `Running 1s test\n\nRESULT {"requests":1000,"durationUs":2000000,"connect":0,"read":0,"write":0,"status":${status},"timeout":0,` +
  '"p50Us":500.0,"p90Us":900.0,"p99Us":1500.0,"maxUs":3000.0}\n';

test("a run's result is read", () => {
  assert.deepEqual(parseResult(line(0)), { requests: 1000, seconds: 2, latencyMs: { p50: 0.5, p90: 0.9, p99: 1.5, max: 3 } });
});

test("one failed answer fails the run", () => {
  assert.throws(() => parseResult(line(1)), /the run had errors: 1 status/);
  assert.throws(() => parseResult("usage"), /no result/);
});
