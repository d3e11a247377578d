import assert from "node:assert/strict";
import { test } from "node:test";
import { compareWithGoals } from "./goals.ts";
import type { BenchResults } from "./results.ts";
import type { ThroughputSample } from "./parts/throughput.ts";

const samples = (...rates: number[]): ThroughputSample[] =>
  rates.map((callsPerSecond) => ({
    callsPerSecond,
    cpuMicros: { server: 20, gateway: 30 },
    latencyMs: { p50: 1, p90: 1, p99: 1, max: 1 },
  }));

function resultsWith(ours: number[], direct: number[], undici: number[]): BenchResults {
  const scenario = { connections: 32, bodyBytes: 32, foreignLoads: [], discarded: [] };
  const throughput = [{ ...scenario, samples: { ours: samples(...ours), direct: samples(...direct), undici: samples(...undici) } }];
  return { command: "", machine: {} as BenchResults["machine"], foreignLimit: 0.15, allowNoise: false, throughput };
}

test("goals of parts that were not measured are left out", () => {
  assert.equal(compareWithGoals({ ...resultsWith([], [], []), throughput: [] }).length, 0);
});

test("the median of the paired ratios is held against the goal", () => {
  // The machine was three times slower in the second round; the pairs show that nothing else changed.
  const goals = compareWithGoals(resultsWith([700, 233.3, 700], [1000, 333.3, 1000], [400, 133.3, 400]));
  assert.deepEqual(
    goals.map(({ value, isMet }) => [value.toFixed(2), isMet]),
    [
      ["0.70", true],
      ["1.75", true],
      ["1.50", true],
    ],
  );
});
