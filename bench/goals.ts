import type { BenchResults } from "./results.ts";
import type { ScenarioResult } from "./parts/throughput.ts";
import type { VariantName } from "./variants/variant.ts";
import { pairedRatios, percentile } from "./statistics.ts";

/** What the project commits to. */
export interface Goal {
  what: string;
  kind: "at-least" | "at-most";
  limit: number;
  unit: "×" | "ms" | "MiB" | "KiB";
  /** Undefined where the part was not measured. */
  read(results: BenchResults): number | undefined;
}

export interface GoalResult {
  what: string;
  kind: Goal["kind"];
  limit: number;
  unit: Goal["unit"];
  value: number;
  isMet: boolean;
}

/** A shared machine may take this much of a ratio before a check fails. */
const ASSERT_MARGIN = 0.7;

const MIB = 2 ** 20;

export const GOALS: readonly Goal[] = [
  {
    what: "calls/s against a bare node:http server with the same handler, 32 connections",
    kind: "at-least",
    limit: 0.6,
    unit: "×",
    read: (results) => standardRatio(results, "direct"),
  },
  {
    what: "calls/s against a node:http + undici gateway, 32 connections",
    kind: "at-least",
    limit: 1.5,
    unit: "×",
    read: (results) => standardRatio(results, "undici"),
  },
  {
    what: "first call of a new Node.js function from a warm pool against spawning `node`, p50",
    kind: "at-least",
    limit: 8,
    unit: "×",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.spawns) / median(firstCalls.hits.nodejs18),
  },
  {
    what: "first call of a new Node.js function, p50",
    kind: "at-most",
    limit: 3,
    unit: "ms",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.nodejs18),
  },
  {
    what: "first call of a new Node.js function, p99",
    kind: "at-most",
    limit: 15,
    unit: "ms",
    read: ({ firstCalls }) => firstCalls && percentile(firstCalls.hits.nodejs18, 0.99),
  },
  {
    what: "first call of a new Python function, p50",
    kind: "at-most",
    limit: 3,
    unit: "ms",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.python39),
  },
  {
    what: "first call of a new Go function, p50",
    kind: "at-most",
    limit: 6,
    unit: "ms",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.go119),
  },
  {
    what: "40 new functions called at the same moment, pool of 40, until the last answer, median",
    kind: "at-most",
    limit: 50,
    unit: "ms",
    read: ({ burst }) => burst && median(burst.bursts.map(({ totalMs }) => totalMs)),
  },
  {
    what: "deploy of a Node.js function until running, p50",
    kind: "at-most",
    limit: 150,
    unit: "ms",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.deploys.nodejs18),
  },
  {
    what: "an idle Node.js replica with its sandbox, PSS, mean of 40",
    kind: "at-most",
    limit: 12,
    unit: "MiB",
    read: ({ burst }) => burst && mean(burst.idleReplicas.map(({ treeBytes }) => treeBytes)) / MIB,
  },
  {
    what: "a registered function that was never called, server memory",
    kind: "at-most",
    limit: 8,
    unit: "KiB",
    read: ({ registered }) => registered && registered.bytesPerFunction / 1024,
  },
  {
    what: "`npm start` in an empty folder until it listens, p50",
    kind: "at-most",
    limit: 1000,
    unit: "ms",
    read: ({ start }) => start && median(start.samples.empty.map(({ ms }) => ms)),
  },
  {
    what: "`npm start` with 10,000 functions and 100,000 messages until it listens, p50",
    kind: "at-most",
    limit: 1000,
    unit: "ms",
    read: ({ start }) => start && median(start.samples.full.map(({ ms }) => ms)),
  },
];

/** Each goal beside what was measured. */
export function compareWithGoals(results: BenchResults): GoalResult[] {
  return GOALS.flatMap(({ read, ...goal }) => {
    const value = read(results);
    if (value === undefined) return [];
    return [{ ...goal, value, isMet: goal.kind === "at-least" ? value >= goal.limit : value <= goal.limit }];
  });
}

/** Ratios that are below their goal by more than a noisy machine explains. Times and sizes are not judged, as they differ by machine. */
export function findFailedAssertions(goals: readonly GoalResult[]): GoalResult[] {
  return goals.filter(({ kind, limit, value }) => kind === "at-least" && !(value >= limit * ASSERT_MARGIN));
}

/** Ours by the other's, per round. */
export function callRatios({ samples }: ScenarioResult, other: VariantName): number[] {
  const rates = (name: VariantName): number[] => samples[name].map(({ callsPerSecond }) => callsPerSecond);
  return pairedRatios(rates("ours"), rates(other));
}

/** The scenario that the goals speak of. */
export function findStandardScenario(scenarios: readonly ScenarioResult[]): ScenarioResult | undefined {
  return scenarios.find(({ connections, bodyBytes }) => connections === 32 && bodyBytes === 32);
}

function standardRatio({ throughput }: BenchResults, other: VariantName): number | undefined {
  const scenario = throughput && findStandardScenario(throughput);
  return scenario && median(callRatios(scenario, other));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}
