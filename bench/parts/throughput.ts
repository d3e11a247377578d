import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchContext } from "../context.ts";
import { KeepAliveClient } from "../load/keep-alive-client.ts";
import { type LoadResult, runWrk } from "../load/wrk.ts";
import { startVariants, type Variant, type VariantName } from "../variants/variant.ts";
import { RUNTIMES } from "./functions.ts";
import { alternate, measureRounds } from "./rounds.ts";

export interface Scenario {
  connections: number;
  bodyBytes: number;
}

/** One variant in one round. */
export interface ThroughputSample {
  callsPerSecond: number;
  cpuMicros: Record<string, number>;
  latencyMs: LoadResult["latencyMs"];
}

export interface ScenarioResult extends Scenario {
  /** By variant, in the order of the rounds that counted. */
  samples: Record<VariantName, ThroughputSample[]>;
  foreignLoads: number[];
  discarded: number[];
}

export interface ThroughputPlan {
  scenarios: readonly Scenario[];
  rounds: number;
  seconds: number;
}

const SMALL_BODY = '{"key":"value","data":[1,2,3]}';
/** Checked while wrk runs: all of its answers would slow it down. */
const CHECK_EVERY_MS = 100;

/** The documented small body, or that body with a longer text in it. */
export function buildBody(bytes: number): string {
  const missing = bytes - SMALL_BODY.length;
  return missing <= 0 ? SMALL_BODY : SMALL_BODY.replace("value", "v".repeat("value".length + missing));
}

/** Calls per second and CPU time a call, all variants in each round. */
export async function measureThroughput(context: BenchContext, plan: ThroughputPlan): Promise<ScenarioResult[]> {
  await using variants = await startVariants(join(context.folder, "data"), context.environment);
  context.progress.step("waiting for full pools");
  await variants.ours.awaitFullPools(RUNTIMES);
  const results: ScenarioResult[] = [];
  for (const scenario of plan.scenarios) results.push(await measureScenario(context, plan, scenario, variants.list));
  return results;
}

async function measureScenario(
  context: BenchContext,
  { rounds, seconds }: ThroughputPlan,
  scenario: Scenario,
  variants: readonly Variant[],
): Promise<ScenarioResult> {
  const { connections, bodyBytes } = scenario;
  const body = buildBody(bodyBytes);
  const bodyFile = join(context.folder, `body-${bodyBytes}.json`);
  writeFileSync(bodyFile, body);
  const what = `${connections} connections, ${body.length} bytes`;
  context.progress.step(`${what}: warming up`);
  for (const variant of variants) await runWrk({ url: variant.url, bodyFile, connections, seconds: Math.min(3, seconds) });
  const { kept, discarded } = await measureRounds(context, what, rounds, async (round) => {
    const samples: Partial<Record<VariantName, ThroughputSample>> = {};
    for (const variant of alternate(variants, round)) {
      // A function may have lost its replica while others were measured.
      await runWrk({ url: variant.url, bodyFile, connections, seconds: 1 });
      samples[variant.name] = await measureOnce(variant, { body, bodyFile, connections, seconds });
    }
    return samples as Record<VariantName, ThroughputSample>;
  });
  const samplesOf = (name: VariantName): ThroughputSample[] => kept.map(({ value }) => value[name]);
  return {
    ...scenario,
    samples: { direct: samplesOf("direct"), undici: samplesOf("undici"), ours: samplesOf("ours") },
    foreignLoads: kept.map(({ foreignLoad }) => foreignLoad),
    discarded,
  };
}

async function measureOnce(
  variant: Variant,
  load: { body: string; bodyFile: string; connections: number; seconds: number },
): Promise<ThroughputSample> {
  const { url } = variant;
  const before = variant.readCpu();
  const checking = checkAnswers(url, load.body);
  const result = await runWrk({ url, bodyFile: load.bodyFile, connections: load.connections, seconds: load.seconds }).finally(checking.end);
  const checked = await checking.done;
  const after = variant.readCpu();
  const calls = result.requests + checked;
  const cpuMicros = Object.fromEntries(Object.keys(after).map((part) => [part, ((after[part]! - before[part]!) * 1e6) / calls]));
  return { callsPerSecond: result.requests / result.seconds, cpuMicros, latencyMs: result.latencyMs };
}

/** Calls beside the load, and compares whole answers. `done` gives how many; it rejects for the first that is wrong. */
function checkAnswers(url: string, body: string): { end: () => void; done: Promise<number> } {
  const { port, pathname } = new URL(url);
  const wanted = `{"statusCode":200,"body":{"echo":${body},"msg":"hello"}}`;
  const client = new KeepAliveClient(Number(port));
  const ending = new AbortController();
  const check = async (): Promise<number> => {
    let count = 0;
    for (; !ending.signal.aborted; count++) {
      const answer = await client.send("POST", pathname, body);
      if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}: ${answer.body.slice(0, 500)}`);
      if (answer.body !== wanted) throw new Error(`${url} answered with another body: ${answer.body.slice(0, 500)}`);
      await new Promise((resolve) => setTimeout(resolve, CHECK_EVERY_MS));
    }
    return count;
  };
  const done = check().finally(() => client.close());
  // It is awaited once the load has ended.
  done.catch(() => undefined);
  return { end: () => ending.abort(), done };
}
