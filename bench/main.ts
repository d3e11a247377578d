import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BenchContext, createBenchFolder } from "./context.ts";
import { assertGoals, findMissedParts } from "./assertions.ts";
import { compareWithGoals } from "./goals.ts";
import { MissingToolError } from "./load/wrk.ts";
import { describeMachine } from "./machine.ts";
import { type BenchOptions, HELP, OptionError, parseOptions } from "./options.ts";
import { measureAccess } from "./parts/access.ts";
import { measureBursts } from "./parts/burst.ts";
import { measureFirstCalls } from "./parts/first-calls.ts";
import { measureRegistered } from "./parts/registered.ts";
import { measureStarts } from "./parts/start.ts";
import { measureThroughput, type Scenario } from "./parts/throughput.ts";
import { Progress } from "./progress.ts";
import { CHART_FILE, renderChart, renderReport } from "./report/report.ts";
import { formatFigure } from "./report/table.ts";
import type { BenchResults } from "./results.ts";
import { NoisyMachineError, QuietKeeper } from "./system/foreign-load.ts";

const projectFolder = join(import.meta.dirname, "..");

const STANDARD_SCENARIO: Scenario = { connections: 32, bodyBytes: 32 };
const SCENARIOS: readonly Scenario[] = [
  { connections: 1, bodyBytes: 32 },
  STANDARD_SCENARIO,
  { connections: 128, bodyBytes: 32 },
  { connections: 32, bodyBytes: 4096 },
  { connections: 32, bodyBytes: 65_536 },
];

const MAX_ATTEMPTS = 3;

/** What the platform restarts with in a second. */
const FULL_STORE = { functions: 10_000, messages: 100_000 };

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv, join(projectFolder, "docs/performance"));
  if (options === undefined) return void process.stdout.write(HELP);
  const progress = new Progress(process.stderr);
  const machine = await describeMachine();
  const context: BenchContext = {
    progress,
    quiet: new QuietKeeper({
      limit: options.foreignLimit,
      waitMs: options.quietWaitMs,
      allowNoise: options.allowNoise,
      onWaiting: (load) => progress.step(`others use ${Math.round(load * 100)} % of a core; waiting until it is less`),
    }),
    environment: { PATH: process.env["PATH"], HOME: process.env["HOME"], LANG: "C.UTF-8" },
    folder: createBenchFolder(),
  };
  const results: BenchResults = {
    command: ["npm run bench", ...(argv.length === 0 ? [] : ["--", ...argv])].join(" "),
    machine,
    foreignLimit: options.foreignLimit,
    allowNoise: options.allowNoise,
  };
  if (options.assert) await measureUntilHeld(context, options, results);
  else await measure(context, options, results);
  progress.end();
  write(results, options.outputFolder);
  if (options.assert) tellAssertions(results);
}

/** What missed a bound, or broke, is measured again: chance does that once, a slower program each time. */
async function measureUntilHeld(context: BenchContext, options: BenchOptions, results: BenchResults): Promise<void> {
  let { parts } = options;
  for (let attempt = 1; parts.length > 0; attempt++) {
    const folder = join(context.folder, `attempt-${attempt}`);
    mkdirSync(folder);
    try {
      await measure({ ...context, folder }, { ...options, parts }, results);
      parts = findMissedParts(assertGoals(results));
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || exitCodeOf(error) !== 1) throw error;
      context.progress.note((error as Error).message);
    }
    if (attempt === MAX_ATTEMPTS) return;
    if (parts.length > 0) context.progress.note(`attempt ${attempt} of ${MAX_ATTEMPTS} missed a bound of: ${parts.join(", ")}`);
  }
}

async function measure(context: BenchContext, options: BenchOptions, results: BenchResults): Promise<void> {
  const { parts, rounds, seconds, samples, misses } = options;
  if (parts.includes("throughput")) {
    const scenarios = options.quick ? [STANDARD_SCENARIO] : SCENARIOS;
    results.throughput = await measureThroughput(context, { scenarios, rounds, seconds });
  }
  if (parts.includes("first-calls")) {
    results.firstCalls = await measureFirstCalls(context, { samples, misses, spawnedNode: findNode18() });
  }
  if (parts.includes("burst")) results.burst = await measureBursts(context, options.bursts);
  if (parts.includes("registered")) results.registered = await measureRegistered(context, options.registered);
  if (parts.includes("start")) results.start = await measureStarts(context, { rounds: options.starts, ...FULL_STORE });
  if (parts.includes("access")) results.access = await measureAccess(context, { rounds, seconds });
}

/** The program that the server takes for `nodejs18`. */
function findNode18(): string {
  return join(projectFolder, `node_modules/nodejs18-${process.platform}-${process.arch}/bin/node`);
}

function write(results: BenchResults, folder: string | undefined): void {
  const report = renderReport(results);
  if (folder === undefined) return void process.stdout.write(report);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "standalone.md"), report);
  writeFileSync(join(folder, "standalone.json"), `${JSON.stringify({ ...results, goals: compareWithGoals(results) }, null, 1)}\n`);
  if (results.throughput !== undefined) writeFileSync(join(folder, CHART_FILE), renderChart(results.throughput));
  process.stdout.write(`written: ${folder}\n`);
}

/** One line for each ratio; the exit code is 1 where one failed. */
function tellAssertions(results: BenchResults): void {
  const assertions = assertGoals(results);
  for (const { what, verdict, value, kind, bound, limit } of assertions) {
    const wanted = `${kind === "at-least" ? "at least" : "at most"} ${formatFigure(bound)}`;
    const why = verdict === "disturbed" ? " (not judged: others used the machine)" : "";
    process.stdout.write(`${verdict}: ${what}: ${formatFigure(value)}, ${wanted} is asked for, the goal is ${limit}${why}\n`);
  }
  if (assertions.some(({ verdict }) => verdict === "failed")) process.exitCode = 1;
}

function exitCodeOf(error: unknown): number {
  if (error instanceof OptionError || error instanceof MissingToolError) return 2;
  return error instanceof NoisyMachineError ? 3 : 1;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

await main(process.argv.slice(2)).catch((error: unknown) => {
  const isExpected = exitCodeOf(error) !== 1;
  process.stderr.write(`\n${isExpected ? (error as Error).message : ((error as Error).stack ?? String(error))}\n`);
  process.exitCode = exitCodeOf(error);
});
