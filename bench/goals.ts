import type { Part } from "./options.ts";
import type { BenchResults } from "./results.ts";
import { accessRatios } from "./parts/access.ts";
import type { RuntimeName } from "./parts/functions.ts";
import type { ScenarioResult } from "./parts/throughput.ts";
import type { VariantName } from "./variants/variant.ts";
import { pairedRatios, percentile } from "./statistics.ts";

/** What the project commits to. */
export interface Goal {
  what: string;
  kind: "at-least" | "at-most";
  limit: number;
  unit: "×" | "ms" | "MiB" | "KiB";
  part: Part;
  /** CPU time says as much on a machine that others use, too; what is measured by the clock does not. */
  isSturdy?: true;
  /** Undefined where the part was not measured. */
  read(results: BenchResults): number | undefined;
}

export interface GoalResult extends Omit<Goal, "read"> {
  value: number;
  isMet: boolean;
}

const MIB = 2 ** 20;

export const GOALS: readonly Goal[] = [
  {
    what: "calls/s against a bare node:http server with the same handler, 32 connections",
    kind: "at-least",
    limit: 0.6,
    unit: "×",
    part: "throughput",
    read: (results) => standardRatio(results, "direct"),
  },
  {
    what: "calls/s against a node:http + undici gateway, 32 connections",
    kind: "at-least",
    limit: 1.5,
    unit: "×",
    part: "throughput",
    read: (results) => standardRatio(results, "undici"),
  },
  {
    // The gateway is the one process that all calls pass: at 1 / 0.6 of a bare server's time the rate above is still to be had.
    what: "CPU time of a call in the gateway against all that a bare node:http server takes for it, 32 connections",
    kind: "at-most",
    limit: 1.67,
    unit: "×",
    part: "throughput",
    isSturdy: true,
    read: gatewayCpuRatio,
  },
  spawnGoal("Node.js", "nodejs18"),
  spawnGoal("Python", "python39"),
  spawnGoal("Go", "go119"),
  {
    what: "first call of a new Node.js function, p50",
    kind: "at-most",
    limit: 3,
    unit: "ms",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.nodejs18),
  },
  {
    what: "first call of a new Node.js function, p99",
    kind: "at-most",
    limit: 15,
    unit: "ms",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && percentile(firstCalls.hits.nodejs18, 0.99),
  },
  {
    what: "first call of a new Python function, p50",
    kind: "at-most",
    limit: 3,
    unit: "ms",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.python39),
  },
  {
    what: "first call of a new Go function, p50",
    kind: "at-most",
    limit: 6,
    unit: "ms",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.hits.go119),
  },
  {
    what: "40 new functions called at the same moment, pool of 40, until the last answer, median",
    kind: "at-most",
    limit: 50,
    unit: "ms",
    part: "burst",
    read: ({ burst }) => burst && median(burst.bursts.map(({ totalMs }) => totalMs)),
  },
  {
    what: "deploy of a Node.js function until running, p50",
    kind: "at-most",
    limit: 150,
    unit: "ms",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.deploys.nodejs18),
  },
  {
    what: "an idle Node.js replica with its sandbox, PSS, mean of 40",
    kind: "at-most",
    limit: 12,
    unit: "MiB",
    part: "burst",
    read: ({ burst }) => burst && mean(burst.idleReplicas.map(({ treeBytes }) => treeBytes)) / MIB,
  },
  {
    what: "a registered function that was never called, server memory",
    kind: "at-most",
    limit: 8,
    unit: "KiB",
    part: "registered",
    read: ({ registered }) => registered && registered.bytesPerFunction / 1024,
  },
  {
    what: "`npm start` in an empty folder until it listens, p50",
    kind: "at-most",
    limit: 1000,
    unit: "ms",
    part: "start",
    read: ({ start }) => start && median(start.samples.empty.map(({ ms }) => ms)),
  },
  {
    what: "`npm start` with 10,000 functions and 100,000 messages until it listens, p50",
    kind: "at-most",
    limit: 1000,
    unit: "ms",
    part: "start",
    read: ({ start }) => start && median(start.samples.full.map(({ ms }) => ms)),
  },
  {
    what: "calls/s with a key, a role and limits of function, caller and all together against none of it, 32 connections",
    kind: "at-least",
    limit: 0.95,
    unit: "×",
    part: "access",
    read: ({ access }) => access && median(accessRatios(access, ({ callsPerSecond }) => callsPerSecond)),
  },
  {
    // 1 / 0.95 of the time; the handler's own process and the load are not in it, so this asks for more than the rate does.
    what: "CPU time of a call in the gateway with a key, a role and limits against none of it, 32 connections",
    kind: "at-most",
    limit: 1.06,
    unit: "×",
    part: "access",
    isSturdy: true,
    read: ({ access }) => access && median(accessRatios(access, ({ gatewayMicros }) => gatewayMicros)),
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

function gatewayCpuRatio({ throughput }: BenchResults): number | undefined {
  const scenario = throughput && findStandardScenario(throughput);
  if (scenario === undefined) return undefined;
  const micros = (name: VariantName, part: string): number[] =>
    scenario.samples[name].map(({ cpuMicros }) => cpuMicros[part] ?? Number.NaN);
  return median(pairedRatios(micros("ours", "gateway"), micros("direct", "server")));
}

function spawnGoal(language: string, runtime: RuntimeName): Goal {
  return {
    what: `first call of a new ${language} function from a warm pool against spawning \`node\`, p50`,
    kind: "at-least",
    limit: 8,
    unit: "×",
    part: "first-calls",
    read: ({ firstCalls }) => firstCalls && median(firstCalls.spawns) / median(firstCalls.hits[runtime]),
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}
