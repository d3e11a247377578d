import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { BenchContext } from "../context.ts";
import { KeepAliveClient } from "../load/keep-alive-client.ts";
import { readReplicaMemory } from "../system/process-memory.ts";
import { type BenchServer, startBenchServer } from "../variants/bench-server.ts";
import { readFirstCall } from "./first-calls.ts";
import { BODY, buildFunction } from "./functions.ts";
import { measureRounds } from "./rounds.ts";

export const BURST_SIZE = 40;

/** One burst. */
export interface BurstSample {
  /** From the first request until the last answer. */
  totalMs: number;
  /** Each call's own. */
  callsMs: number[];
  misses: number;
}

export interface BurstResult {
  bursts: BurstSample[];
  /** Of each replica that waits, one among forty. */
  idleReplicas: { programBytes: number; treeBytes: number }[];
  /** Of one that waits alone. */
  loneReplica: { programBytes: number; treeBytes: number };
  foreignLoads: number[];
  discarded: number[];
}

/** Room for the pool, for the functions that were called, and for the pool's replacement. */
const ROOM = ["--max-memory", "64GiB"];
const NODE_SHIM = "/nodejs/main.js";
const DEPLOYS_AT_ONCE = 4;
/** V8 gives back a MiB when a process has been idle for eight seconds. */
export const IDLE_SECONDS = 12;

/** Many new functions called at the same moment, and what their waiting replicas weigh. */
export async function measureBursts(context: BenchContext, bursts: number): Promise<BurstResult> {
  const loneReplica = await measureLoneReplica(context);
  await using server = await startPoolServer(context, BURST_SIZE);
  await setTimeout(IDLE_SECONDS * 1000);
  const idleReplicas = readReplicaMemory(server.child.pid, NODE_SHIM);
  if (idleReplicas.length !== BURST_SIZE) throw new Error(`${idleReplicas.length} replicas wait, not ${BURST_SIZE}`);
  const { kept, discarded } = await measureRounds(context, `${BURST_SIZE} first calls at once`, bursts, (round) =>
    measureBurst(server, round),
  );
  return {
    bursts: kept.map(({ value }) => value),
    idleReplicas,
    loneReplica,
    foreignLoads: kept.map(({ foreignLoad }) => foreignLoad),
    discarded,
  };
}

async function startPoolServer({ folder, environment, progress }: BenchContext, size: number): Promise<BenchServer> {
  progress.step(`waiting for a pool of ${size}`);
  const flags = ["--pool-size", "0", "--pool", `nodejs18=${size}`, ...ROOM];
  const server = await startBenchServer({ dataFolder: join(folder, "data"), environment, flags });
  await server.awaitPools(
    (pools) => pools.some(({ runtime, waiting }) => runtime === "nodejs18" && waiting >= size),
    "the pool was not full",
  );
  return server;
}

async function measureLoneReplica(context: BenchContext): Promise<BurstResult["loneReplica"]> {
  await using server = await startPoolServer(context, 1);
  await setTimeout(IDLE_SECONDS * 1000);
  const [lone] = readReplicaMemory(server.child.pid, NODE_SHIM);
  if (lone === undefined) throw new Error("no replica waits");
  return lone;
}

async function measureBurst(server: BenchServer, round: number): Promise<BurstSample> {
  const deployments = Array.from({ length: BURST_SIZE }, (_, i) => buildFunction("nodejs18", `burst-${round}-${i}`));
  for (let i = 0; i < deployments.length; i += DEPLOYS_AT_ONCE) {
    await Promise.all(deployments.slice(i, i + DEPLOYS_AT_ONCE).map((deployment) => server.deploy(deployment)));
  }
  const clients = deployments.map(() => new KeepAliveClient(server.port));
  await Promise.all(clients.map((client) => client.send("GET", "/health")));
  await server.awaitFullPools();
  const startMs = performance.now();
  const answers = await Promise.all(
    clients.map((client, i) => client.send("POST", `/api/v1/functions/${deployments[i]!.name}/invoke`, BODY)),
  );
  const totalMs = performance.now() - startMs;
  for (const client of clients) client.close();
  await Promise.all(deployments.map(({ name }) => server.remove(name)));
  const calls = answers.map(readFirstCall);
  return { totalMs, callsMs: calls.map(({ ms }) => ms), misses: calls.filter(({ isHit }) => !isHit).length };
}
