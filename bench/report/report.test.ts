import assert from "node:assert/strict";
import { test } from "node:test";
import type { ThroughputSample } from "../parts/throughput.ts";
import type { BenchResults } from "../results.ts";
import { renderChart, renderReport } from "./report.ts";
import { formatFigure, renderTable } from "./table.ts";

const sample = (callsPerSecond: number, cpuMicros: Record<string, number>): ThroughputSample => ({
  callsPerSecond,
  cpuMicros,
  latencyMs: { p50: 1.2345, p90: 2, p99: 3, max: 4 },
});

const results: BenchResults = {
  command: "npm run bench",
  machine: {
    date: "2026-01-02",
    cpu: "Some CPU",
    cores: 2,
    memoryGiB: 8,
    os: "Debian",
    kernel: "6.1",
    node: "24.0.0",
    undici: "8.0.0",
    wrk: "4.1.0",
    commit: "0123456789",
  },
  foreignLimit: 0.15,
  allowNoise: false,
  throughput: [
    {
      connections: 32,
      bodyBytes: 32,
      samples: {
        direct: [sample(30_000, { server: 16 }), sample(20_000, { server: 17 })],
        undici: [sample(10_000, { gateway: 55, worker: 18 }), sample(5000, { gateway: 56, worker: 19 })],
        ours: [sample(21_000, { gateway: 20, replicas: 5 }), sample(15_000, { gateway: 21, replicas: 6 })],
      },
      foreignLoads: [0.01, 0.05],
      discarded: [0.8],
    },
  ],
  registered: { count: 1000, rssBytes: { full: 110 * 2 ** 20, empty: 100 * 2 ** 20 }, bytesPerFunction: 10_485.76 },
  start: {
    functions: 10,
    messages: 20,
    samples: { empty: [{ ms: 700, cpuMs: 800 }], full: [{ ms: 900, cpuMs: 1234 }] },
    foreignLoads: [0.01],
    discarded: [],
  },
};

test("a report says where it comes from, what is met, and what was thrown away", () => {
  const report = renderReport(results);
  for (const part of [
    "`npm run bench` on 2026-01-02 at commit `0123456789`",
    "2 cores (Some CPU), 8 GiB",
    "less than 15 % of one core",
    "| ≥ 0.6 × | 0.72 × | yes |",
    "| ≥ 1.5 × | 2.55 × | yes |",
    "| ≤ 8 KiB | 10.2 KiB | **no** |",
    "| 26.0 (gateway 20.5, replicas 5.50) |",
    "by round 0.70, 0.75",
    "| with 10 functions and 20 messages | 900 | 900 | 900 | 1 234 |",
    "2 rounds; others used 3 % of a core (median, at most 5 %); 1 thrown away at 80 %.",
  ]) {
    assert.ok(report.includes(part), `no "${part}" in:\n${report}`);
  }
  assert.ok(!report.includes("First calls"));
});

test("a report of a busy machine says so", () => {
  assert.match(renderReport({ ...results, allowNoise: true }), /on a busy machine too/);
});

test("the picture has a bar for each variant of each scenario", () => {
  const svg = renderChart(results.throughput!);
  assert.equal(svg.match(/<rect x=/g)?.length, 3);
  assert.match(svg, />1\.00<.*/s);
  assert.match(svg, /32 connections, body of 32 B/);
});

test("figures keep three digits", () => {
  assert.deepEqual([0.456, 12.345, 123.4, 12_345.6, 1_234_567, Number.NaN].map(formatFigure), [
    "0.46",
    "12.3",
    "123",
    "12 346",
    "1 234 567",
    "–",
  ]);
});

test("tables have their figures to the right", () => {
  assert.equal(renderTable(["a", "b"], [["x", "1"]]), "| a | b |\n| --- | ---: |\n| x | 1 |");
});
