import { join } from "node:path";
import type { BenchContext } from "../context.ts";
import type { Answer } from "../load/keep-alive-client.ts";
import { awaitPort, Child } from "../variants/child.ts";
import { KeepAliveClient } from "../load/keep-alive-client.ts";
import { type BenchServer, startBenchServer } from "../variants/bench-server.ts";
import { buildFunction, BODY, RUNTIMES, type RuntimeName } from "./functions.ts";
import { alternate, measureRounds } from "./rounds.ts";

/** Milliseconds, in the order of the rounds. */
export interface FirstCallResult {
  hits: Record<RuntimeName, number[]>;
  misses: Record<RuntimeName, number[]>;
  /** Spawning `node` until it has answered one request. */
  spawns: number[];
  /** POST until seen running. */
  deploys: Record<RuntimeName, number[]>;
  /** What waits while nothing is called. */
  pools: { runtime: string; waiting: number; pssMiB: number }[];
  foreignLoads: number[];
  discarded: number[];
}

export interface FirstCallPlan {
  samples: number;
  misses: number;
  /** The program that `nodejs18` runs on. */
  spawnedNode: string;
}

type Kind = RuntimeName | "spawn";
const KINDS: readonly Kind[] = [...RUNTIMES, "spawn"];
/** The standard classes have a pool, those of other sizes have none once their check's replacement was taken away. */
const MISS_MEMORY_MIB = 300;
const oneRequest = join(import.meta.dirname, "..", "peers", "one-request.cjs");

interface FirstCall {
  ms: number;
  isHit: boolean;
}

interface RoundResult {
  calls: Record<RuntimeName, FirstCall>;
  deploys: Record<RuntimeName, number>;
  spawnMs: number;
}

/** Deploys and first calls of functions that were never called before, beside spawning a process for each. */
export async function measureFirstCalls(context: BenchContext, plan: FirstCallPlan): Promise<FirstCallResult> {
  await using server = await startBenchServer({ dataFolder: join(context.folder, "data"), environment: context.environment });
  context.progress.step("waiting for full pools");
  const pools = await server.awaitFullPools(RUNTIMES);
  await warmUp(server, plan);
  const { kept, discarded } = await measureRounds(context, "deploys and first calls", plan.samples, (round) =>
    measureRound(server, plan, round),
  );
  const misses = await measureMisses(context, server, plan.misses);
  const of = <T>(pick: (round: RoundResult, runtime: RuntimeName) => T[]): Record<RuntimeName, T[]> =>
    Object.fromEntries(RUNTIMES.map((runtime) => [runtime, kept.flatMap(({ value }) => pick(value, runtime))])) as Record<RuntimeName, T[]>;
  const missesBesides = of(({ calls }, runtime) => (calls[runtime].isHit ? [] : [calls[runtime].ms]));
  return {
    hits: of(({ calls }, runtime) => (calls[runtime].isHit ? [calls[runtime].ms] : [])),
    misses: Object.fromEntries(RUNTIMES.map((runtime) => [runtime, [...missesBesides[runtime], ...misses[runtime]]])) as Record<
      RuntimeName,
      number[]
    >,
    spawns: kept.map(({ value }) => value.spawnMs),
    deploys: of(({ deploys }, runtime) => [deploys[runtime]]),
    pools: pools.map(({ runtime, waiting, pssMiB }) => ({ runtime, waiting, pssMiB })),
    foreignLoads: kept.map(({ foreignLoad }) => foreignLoad),
    discarded,
  };
}

/** The server and this process have run the code of a deploy and a call before the first one is measured. */
async function warmUp(server: BenchServer, plan: FirstCallPlan): Promise<void> {
  for (let i = 0; i < 3; i++) await measureRound(server, plan, `warm-${i}`);
}

async function measureRound(server: BenchServer, plan: FirstCallPlan, round: number | string): Promise<RoundResult> {
  const result: RoundResult = { calls: {} as RoundResult["calls"], deploys: {} as RoundResult["deploys"], spawnMs: 0 };
  for (const kind of alternate(KINDS, typeof round === "number" ? round : 0)) {
    await server.awaitFullPools();
    if (kind === "spawn") result.spawnMs = await measureSpawn(plan.spawnedNode);
    else await measureFunction(server, kind, `first-${round}`, result);
  }
  return result;
}

async function measureFunction(server: BenchServer, runtime: RuntimeName, label: string, result: RoundResult): Promise<void> {
  const deployment = buildFunction(runtime, label);
  result.deploys[runtime] = await server.deploy(deployment);
  await server.awaitFullPools();
  result.calls[runtime] = readFirstCall(await server.invoke(deployment.name, BODY));
  // Its replica would count against the server's memory for another minute.
  await server.remove(deployment.name);
}

/** @throws for an answer that is not right, or came from a replica that was there already */
export function readFirstCall({ status, headers, body, durationMs }: Answer): FirstCall {
  if (status !== 200 || !body.includes('"msg":"hello"')) throw new Error(`a first call was answered ${status}: ${body.slice(0, 500)}`);
  if (headers["x-cold-start"] !== "true") throw new Error("a first call did not wait for its replica: X-Cold-Start is not true");
  return { ms: durationMs, isHit: !String(headers["server-timing"]).includes("no waiting replica") };
}

async function measureSpawn(program: string): Promise<number> {
  const startMs = performance.now();
  // The least environment, as extra certificates alone would cost 37 ms.
  const child = new Child(program, [oneRequest], { PATH: "/usr/bin:/bin" });
  const client = new KeepAliveClient(await awaitPort(child));
  const { status } = await client.send("POST", "/", BODY);
  const ms = performance.now() - startMs;
  client.close();
  await child.stop();
  if (status !== 200) throw new Error(`the spawned server answered ${status}`);
  return ms;
}

/** Functions of memory classes that nothing waits for. */
async function measureMisses(context: BenchContext, server: BenchServer, count: number): Promise<Record<RuntimeName, number[]>> {
  const misses: Record<RuntimeName, number[]> = { nodejs18: [], python39: [], go119: [] };
  if (count === 0) return misses;
  const deployments = Array.from({ length: count }, (_, i) =>
    RUNTIMES.map((runtime) => ({ ...buildFunction(runtime, `miss-${i}`), memory: MISS_MEMORY_MIB + i })),
  ).flat();
  context.progress.step(`deploying ${deployments.length} functions without a pool`);
  for (const deployment of deployments) await server.deploy(deployment);
  context.progress.step("waiting until the replicas that the deploys left are gone");
  await server.awaitPools(
    (pools) => pools.every(({ waiting, memoryMiB }) => memoryMiB < MISS_MEMORY_MIB || waiting === 0),
    "replicas of other sizes still wait",
  );
  for (const [i, { name, runtime }] of deployments.entries()) {
    context.progress.step(`first calls without a pool, ${i + 1} of ${deployments.length}`);
    await server.awaitFullPools();
    const { ms, isHit } = readFirstCall(await server.invoke(name, BODY));
    if (!isHit) misses[runtime as RuntimeName].push(ms);
    await server.remove(name);
  }
  return misses;
}
