import { callRatios, compareWithGoals, type GoalResult, mean } from "../goals.ts";
import { ACCESS_KINDS, type AccessKind, accessRatios, type AccessResult } from "../parts/access.ts";
import { BURST_SIZE, type BurstResult, IDLE_SECONDS } from "../parts/burst.ts";
import type { FirstCallResult } from "../parts/first-calls.ts";
import { RUNTIMES } from "../parts/functions.ts";
import { START_KINDS, type StartKind, type StartResult } from "../parts/start.ts";
import type { ScenarioResult } from "../parts/throughput.ts";
import type { BenchResults } from "../results.ts";
import { percentile, summarise, summarisePercentiles } from "../statistics.ts";
import { VARIANT_NAMES, type VariantName } from "../variants/variant.ts";
import { renderBars } from "./chart.ts";
import { formatFigure, formatPercent, renderTable } from "./table.ts";

export const CHART_FILE = "standalone.svg";

const VARIANTS: Record<VariantName, { label: string; short: string; colour: string }> = {
  direct: { label: "bare node:http", short: "node:http", colour: "#9aa5b1" },
  undici: { label: "node:http + undici gateway", short: "undici gateway", colour: "#c9a227" },
  ours: { label: "Kube-Serverless, every default on", short: "Kube-Serverless", colour: "#2b7a78" },
};
const MIB = 2 ** 20;

/** The page about one run. */
export function renderReport(results: BenchResults): string {
  const { throughput, firstCalls, burst, registered, start, access } = results;
  const sections = [
    "# Performance of the standalone server",
    renderOrigin(results),
    `## Goals\n\n${renderGoals(compareWithGoals(results))}`,
    throughput && renderThroughput(throughput),
    firstCalls && renderFirstCalls(firstCalls),
    burst && renderBurst(burst),
    (burst ?? registered) && renderMemory(results),
    start && renderStarts(start),
    access && renderAccess(access),
  ];
  return `${sections.filter((section) => section !== undefined).join("\n\n")}\n`;
}

/** Calls per second by scenario, the bare server being 1. */
export function renderChart(throughput: readonly ScenarioResult[]): string {
  const groups = throughput.map((scenario) => ({
    title: describeScenario(scenario),
    bars: VARIANT_NAMES.map((name) => ({
      label: VARIANTS[name].short,
      value: relativeRate(scenario, name),
      colour: VARIANTS[name].colour,
    })),
  }));
  return renderBars("Calls per second, a bare node:http server being 1", groups);
}

function renderOrigin({ command, machine, foreignLimit, allowNoise }: BenchResults): string {
  const { date, cpu, cores, memoryGiB, os, kernel, node, undici, wrk, commit } = machine;
  const quiet = allowNoise
    ? `Measured **on a busy machine too**: a run on a quiet one would let others use ${formatPercent(foreignLimit)} of a core at the most.`
    : `Measured while other processes used less than ${formatPercent(foreignLimit)} of one core; rounds with more were thrown away and repeated.`;
  return [
    `Written by \`${command}\` on ${date} at commit \`${commit}\`; the figures are in [standalone.json](standalone.json).`,
    `${cores} cores (${cpu}), ${memoryGiB} GiB, ${os}, Linux ${kernel}; Node.js ${node}, undici ${undici}, wrk ${wrk}.`,
    `${quiet} Absolute rates hold for that machine alone; the ratios, taken within each round, and the CPU time of a call carry further.`,
  ].join("\n");
}

function renderGoals(goals: readonly GoalResult[]): string {
  const rows = goals.map(({ what, kind, limit, unit, value, isMet }) => [
    what,
    `${kind === "at-least" ? "≥" : "≤"} ${limit} ${unit}`,
    `${formatFigure(value)} ${unit}`,
    isMet ? "yes" : "**no**",
  ]);
  return renderTable(["what", "goal", "measured", "met"], rows);
}

function describeScenario({ connections, bodyBytes }: ScenarioResult): string {
  const size = bodyBytes < 1024 ? `${bodyBytes} B` : `${bodyBytes / 1024} KiB`;
  return `${connections} connection${connections === 1 ? "" : "s"}, body of ${size}`;
}

/** Of the bare server's rate in the same round. */
function relativeRate(scenario: ScenarioResult, name: VariantName): number {
  const rates = (of: VariantName): number[] => scenario.samples[of].map(({ callsPerSecond }) => callsPerSecond);
  const bare = rates("direct");
  return percentile(
    rates(name).map((rate, i) => rate / bare[i]!),
    0.5,
  );
}

function renderThroughput(scenarios: readonly ScenarioResult[]): string {
  return [
    "## Calls per second",
    [
      "`POST` with a JSON body; the handler gives it back, JSON parsed and written in its process. Each variant runs in processes of its own on the same",
      "Node.js, started as anybody would: ours by `npm start`, which gives V8 a larger young generation, the others without flags",
      "([what they make of that flag](tried.md)). The load is wrk with one thread and keep-alive, as fast as answers come. In each round every variant is measured, in",
      "changing order. Answers are compared in whole beside the load; one that is wrong, and any error of a connection, ends the run.",
    ].join("\n"),
    `![Calls per second against a bare node:http server](${CHART_FILE})`,
    ...scenarios.map(renderScenario),
  ].join("\n\n");
}

function renderScenario(scenario: ScenarioResult): string {
  const { foreignLoads, discarded } = scenario;
  const rows = VARIANT_NAMES.map((name) => renderVariant(scenario, name));
  const head = ["variant", "calls/s min", "median", "max", "CPU µs a call", "p50 ms", "p99 ms"];
  const ratios = (["direct", "undici"] as const).map((other) => {
    const { min, median, max } = summarise(callRatios(scenario, other));
    const rounds = callRatios(scenario, other).map(formatFigure).join(", ");
    return `- against ${VARIANTS[other].label}: **${formatFigure(median)} ×** (${formatFigure(min)} to ${formatFigure(max)}; by round ${rounds})`;
  });
  return [`### ${describeScenario(scenario)}`, renderTable(head, rows), ratios.join("\n"), describeRounds(foreignLoads, discarded)].join(
    "\n\n",
  );
}

function renderVariant({ samples }: ScenarioResult, name: VariantName): string[] {
  const all = samples[name];
  const rate = summarise(all.map(({ callsPerSecond }) => callsPerSecond));
  const medianOf = (read: (sample: (typeof all)[number]) => number): number => percentile(all.map(read), 0.5);
  const parts = Object.keys(all[0]?.cpuMicros ?? {});
  const total = formatFigure(medianOf(({ cpuMicros }) => Object.values(cpuMicros).reduce((sum, value) => sum + value, 0)));
  const shares = parts.map((part) => `${part} ${formatFigure(medianOf(({ cpuMicros }) => cpuMicros[part]!))}`);
  return [
    VARIANTS[name].label,
    ...[rate.min, rate.median, rate.max].map(formatFigure),
    parts.length > 1 ? `${total} (${shares.join(", ")})` : total,
    formatFigure(medianOf(({ latencyMs }) => latencyMs.p50)),
    formatFigure(medianOf(({ latencyMs }) => latencyMs.p99)),
  ];
}

function describeRounds(foreignLoads: readonly number[], discarded: readonly number[]): string {
  const { count, median, max } = summarise(foreignLoads);
  const thrown =
    discarded.length === 0 ? "none was thrown away" : `${discarded.length} thrown away at ${discarded.map(formatPercent).join(", ")}`;
  return `${count} rounds; others used ${formatPercent(median)} of a core (median, at most ${formatPercent(max)}); ${thrown}.`;
}

function renderFirstCalls({ hits, misses, spawns, deploys, pools, foreignLoads, discarded }: FirstCallResult): string {
  const row = (what: string, values: readonly number[]): string[] => {
    const { count, min, median, p90, p99, max } = summarisePercentiles(values);
    return [what, String(count), ...[min, median, p90, p99, max].map(formatFigure)];
  };
  const calls = RUNTIMES.flatMap((runtime) => [
    row(`${runtime}, a waiting replica was there`, hits[runtime]),
    ...(misses[runtime].length === 0 ? [] : [row(`${runtime}, none was there`, misses[runtime])]),
  ]);
  const head = ["", "n", "min", "p50", "p90", "p99", "max"];
  const idle = pools.map(({ runtime, waiting, pssMiB }) => `${runtime} ${waiting} (${formatFigure(pssMiB)} MiB)`).join(", ");
  return [
    "## First calls",
    [
      "A new function's first call, over a connection that is open, from the request's first byte to the answer's last; milliseconds. Before each one the",
      `pools were full again; their replacement starts beside the call. What waits meanwhile, with its memory (PSS): ${idle}.`,
    ].join("\n"),
    renderTable(head, [...calls, row("spawning `node` 18 and answering one HTTP request", spawns)]),
    "## Deploys",
    "From sending the `POST` until `running` is seen, code new to the server each time; milliseconds. Go is compiled.",
    renderTable(
      head,
      RUNTIMES.map((runtime) => row(runtime, deploys[runtime])),
    ),
    describeRounds(foreignLoads, discarded),
  ].join("\n\n");
}

function renderBurst({ bursts, foreignLoads, discarded }: BurstResult): string {
  const total = summarise(bursts.map(({ totalMs }) => totalMs));
  const calls = summarisePercentiles(bursts.flatMap(({ callsMs }) => callsMs));
  const misses = bursts.reduce((sum, burst) => sum + burst.misses, 0);
  const rows = [
    ["until the last answer", total.min, total.median, total.max],
    ["each call", calls.min, calls.median, calls.max],
  ].map((row) => row.map((cell) => (typeof cell === "number" ? formatFigure(cell) : cell)));
  return [
    `## ${BURST_SIZE} new functions at the same moment`,
    `${BURST_SIZE} Node.js functions that were never called, a pool of ${BURST_SIZE}, each call on its own connection; milliseconds. ${misses} calls found no waiting replica.`,
    renderTable(["", "min", "median", "max"], rows),
    describeRounds(foreignLoads, discarded),
  ].join("\n\n");
}

function renderMemory({ burst, registered }: BenchResults): string {
  const lines: string[][] = [];
  if (burst !== undefined) {
    const { idleReplicas, loneReplica } = burst;
    const mib = (bytes: number): string => `${formatFigure(bytes / MIB)} MiB`;
    lines.push(
      [`idle Node.js 18 replica, mean of ${idleReplicas.length}: program`, mib(mean(idleReplicas.map(({ programBytes }) => programBytes)))],
      ["the same with its sandbox's processes", mib(mean(idleReplicas.map(({ treeBytes }) => treeBytes)))],
      ["a lone one: program", mib(loneReplica.programBytes)],
      ["the same with its sandbox's processes", mib(loneReplica.treeBytes)],
    );
  }
  if (registered !== undefined) {
    const { count, rssBytes, bytesPerFunction } = registered;
    lines.push(
      ["server without functions, RSS", `${formatFigure(rssBytes.empty / MIB)} MiB`],
      [`server with ${count} functions that were never called, RSS`, `${formatFigure(rssBytes.full / MIB)} MiB`],
      ["the difference, per function", `${formatFigure(bytesPerFunction / 1024)} KiB`],
    );
  }
  return [
    "## Memory",
    [
      `Replicas by their proportional set size (PSS: shared pages are divided among those that share them), ${IDLE_SECONDS} s after the pool was full. Registered functions are the documented one with an`,
      "HTTP trigger, written through the store before the server starts; RSS is read after garbage collections in all of its threads.",
    ].join("\n"),
    renderTable(["", "memory"], lines),
  ].join("\n\n");
}

function renderStarts({ functions, messages, samples, foreignLoads, discarded }: StartResult): string {
  const titles: Record<StartKind, string> = {
    empty: "in an empty folder",
    full: `with ${functions} functions and ${messages} messages`,
  };
  const rows = START_KINDS.map((kind) => {
    const { min, median, max } = summarise(samples[kind].map(({ ms }) => ms));
    const cpu = summarise(samples[kind].map(({ cpuMs }) => cpuMs));
    return [titles[kind], ...[min, median, max, cpu.median].map(formatFigure)];
  });
  return [
    "## Starts",
    "From `npm start`, the packages being there, until the server listens and knows its functions; milliseconds. CPU time is that of all processes, npm's too.",
    renderTable(["", "min", "median", "max", "CPU time, median"], rows),
    describeRounds(foreignLoads, discarded),
  ].join("\n\n");
}

const ACCESS_LABELS: Record<AccessKind, string> = {
  off: "without authentication and limits",
  on: "with a key, a role, and limits of function, caller and all together",
};

function renderAccess(access: AccessResult): string {
  const rows = ACCESS_KINDS.map((kind) => {
    const rate = summarise(access.samples[kind].map(({ callsPerSecond }) => callsPerSecond));
    const micros = summarise(access.samples[kind].map(({ gatewayMicros }) => gatewayMicros));
    return [ACCESS_LABELS[kind], ...[rate.min, rate.median, rate.max, micros.median].map(formatFigure)];
  });
  const rates = summarise(accessRatios(access, ({ callsPerSecond }) => callsPerSecond));
  const times = summarise(accessRatios(access, ({ gatewayMicros }) => gatewayMicros));
  return [
    "## Authentication, roles and limits",
    "Two servers by turns, each for a second or more; the ratio is that of neighbours. 32 connections, the documented small body.",
    renderTable(["server", "calls/s min", "median", "max", "gateway CPU µs a call"], rows),
    `Calls/s **${formatFigure(rates.median)} ×** (${formatFigure(rates.min)} to ${formatFigure(rates.max)}), CPU time in the gateway **${formatFigure(times.median)} ×** (${formatFigure(times.min)} to ${formatFigure(times.max)}), over ${rates.count} pairs.`,
    describeRounds(access.foreignLoads, access.discarded),
  ].join("\n\n");
}
