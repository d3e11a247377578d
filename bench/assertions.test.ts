import assert from "node:assert/strict";
import { test } from "node:test";
import { assertGoals, DISTURBED_LOAD, findMissedParts, type Verdict } from "./assertions.ts";
import type { ThroughputSample } from "./parts/throughput.ts";
import type { BenchResults } from "./results.ts";

const DIRECT = 1000;
const UNDICI = 200;
const DIRECT_MICROS = 20;

function measured(ours: { rate?: number; micros?: number; foreignLoad?: number; firstMs?: number }): BenchResults {
  const { rate = 700, micros = 30, foreignLoad = 0.1, firstMs = 2 } = ours;
  const sample = (callsPerSecond: number, cpuMicros: Record<string, number>): ThroughputSample[] => [
    { callsPerSecond, cpuMicros, latencyMs: { p50: 1, p90: 1, p99: 1, max: 1 } },
  ];
  const samples = {
    direct: sample(DIRECT, { server: DIRECT_MICROS }),
    undici: sample(UNDICI, { gateway: 60, worker: 20 }),
    ours: sample(rate, { gateway: micros, replicas: 5 }),
  };
  const first = [firstMs];
  return {
    command: "",
    machine: {} as BenchResults["machine"],
    foreignLimit: 0.15,
    allowNoise: true,
    throughput: [{ connections: 32, bodyBytes: 32, samples, foreignLoads: [foreignLoad], discarded: [] }],
    firstCalls: {
      hits: { nodejs18: first, python39: first, go119: first },
      misses: { nodejs18: [], python39: [], go119: [] },
      spawns: [40],
      deploys: { nodejs18: [9000], python39: [9000], go119: [9000] },
      pools: [],
      foreignLoads: [foreignLoad],
      discarded: [],
    },
  };
}

const verdicts = (results: BenchResults): Verdict[] => assertGoals(results).map(({ verdict }) => verdict);

test("ratios hold down to 0.7 of their goals, and times are never judged", () => {
  assert.deepEqual(verdicts(measured({})), ["held", "held", "held", "held", "held", "held"]);
  assert.deepEqual(verdicts(measured({ rate: 430, micros: 47, firstMs: 7.1 })), ["held", "held", "held", "held", "held", "held"]);
});

test("what is slower fails, and is what is measured again", () => {
  const slow = measured({ rate: 410, firstMs: 7.2 });
  assert.deepEqual(verdicts(slow), ["failed", "held", "held", "failed", "failed", "failed"]);
  assert.deepEqual(findMissedParts(assertGoals(slow)), ["throughput", "first-calls"]);
  assert.deepEqual(findMissedParts(assertGoals(measured({ firstMs: 8 }))), ["first-calls"]);
  assert.deepEqual(findMissedParts(assertGoals(measured({}))), []);
});

test("a figure that is missing fails", () => {
  assert.deepEqual(verdicts(measured({ rate: Number.NaN, micros: Number.NaN })).slice(0, 3), ["failed", "failed", "failed"]);
});

test("on a busy machine CPU time alone is judged", () => {
  const foreignLoad = DISTURBED_LOAD + 0.01;
  assert.deepEqual(verdicts(measured({ rate: 100, micros: 48, firstMs: 30, foreignLoad })), [
    "disturbed",
    "disturbed",
    "failed",
    "disturbed",
    "disturbed",
    "disturbed",
  ]);
  assert.deepEqual(verdicts(measured({ foreignLoad })), ["held", "held", "held", "held", "held", "held"]);
});
