import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchContext } from "../context.ts";
import { runWrk } from "../load/wrk.ts";
import { pairedRatios } from "../statistics.ts";
import { type BenchServer, startBenchServer } from "../variants/bench-server.ts";
import { HANDLER_CODE, readServerCpu } from "../variants/variant.ts";
import { BODY, RUNTIMES } from "./functions.ts";
import { alternate, measureRounds } from "./rounds.ts";

export const ACCESS_KINDS = ["off", "on"] as const;
export type AccessKind = (typeof ACCESS_KINDS)[number];

/** One server in one round. */
export interface AccessSample {
  callsPerSecond: number;
  /** Of the server's own process, for one call. */
  gatewayMicros: number;
}

export interface AccessResult {
  samples: Record<AccessKind, AccessSample[]>;
  foreignLoads: number[];
  discarded: number[];
}

interface Side {
  kind: AccessKind;
  server: BenchServer;
  headers: readonly string[];
}

const NAME = "hello";
const CONNECTIONS = 32;
const WARM_UP_SECONDS = 3;
/** A round is many short measurements in turn, so that a change of the machine's speed meets both. */
const PAIRS_A_ROUND = 4;
const ADMIN_KEY = "admin-key-of-the-benchmark-000000";
/** Never reached, as what is refused would be no call. */
const HIGH = { rateLimit: { requestsPerSecond: 1_000_000, burst: 10_000_000 }, maxConcurrency: 100_000 };
const FLAGS = [
  "--auth",
  ...["--caller-rate-limit", "1000000:10000000", "--caller-max-concurrency", "100000"],
  ...["--global-rate-limit", "1000000:10000000", "--global-max-concurrency", "100000"],
];

/** Calls with a key, its role, and limits of the function, the caller and all together, against calls to an open server. */
export async function measureAccess(context: BenchContext, plan: { rounds: number; seconds: number }): Promise<AccessResult> {
  const bodyFile = join(context.folder, "access-body.json");
  writeFileSync(bodyFile, BODY);
  const { kept, discarded } = await measureRounds(context, "access off and on", plan.rounds, async (round) => {
    await using sides = await startSides(context, round);
    for (const side of sides.list) await measureSide(side, bodyFile, WARM_UP_SECONDS);
    return await measurePairs(sides.list, round, bodyFile, plan.seconds / PAIRS_A_ROUND);
  });
  const samplesOf = (kind: AccessKind): AccessSample[] => kept.flatMap(({ value }) => value[kind]);
  return {
    samples: { off: samplesOf("off"), on: samplesOf("on") },
    foreignLoads: kept.map(({ foreignLoad }) => foreignLoad),
    discarded,
  };
}

/** New ones each round: two servers with the same work differ by more than is to be measured, as their code was compiled by chance. */
async function startSides({ folder, environment }: BenchContext, round: number): Promise<AsyncDisposable & { list: Side[] }> {
  await using started = new AsyncDisposableStack();
  const start = async (kind: AccessKind, more: NodeJS.ProcessEnv, flags: readonly string[]): Promise<BenchServer> => {
    const dataFolder = join(folder, `access-${kind}-${round}`);
    return started.use(await startBenchServer({ dataFolder, environment: { ...environment, ...more }, flags }));
  };
  const off = await start("off", {}, []);
  const on = await start("on", { KS_ADMIN_KEY: ADMIN_KEY }, FLAGS);
  on.client.headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const spec = { name: NAME, runtime: "nodejs24", handler: "index.handler", code: HANDLER_CODE };
  await off.deploy(spec);
  await on.deploy({ ...spec, ...HIGH });
  for (const server of [off, on]) await server.awaitFullPools(RUNTIMES);
  const wish = { name: "benchmark", role: "invoker", functions: [`${NAME.slice(0, 2)}*`] };
  const { key } = JSON.parse((await on.control("POST", "/api/v1/keys", wish)).body) as { key: string };
  const owned = started.move();
  const list: Side[] = [
    { kind: "off", server: off, headers: [] },
    { kind: "on", server: on, headers: [`Authorization: Bearer ${key}`] },
  ];
  return { list, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** On by off, pair by pair. */
export function accessRatios({ samples: { off, on } }: AccessResult, read: (sample: AccessSample) => number): number[] {
  return pairedRatios(on.map(read), off.map(read));
}

async function measurePairs(
  sides: readonly Side[],
  round: number,
  bodyFile: string,
  seconds: number,
): Promise<Record<AccessKind, AccessSample[]>> {
  const samples: Record<AccessKind, AccessSample[]> = { off: [], on: [] };
  for (let pair = 0; pair < PAIRS_A_ROUND; pair++)
    for (const side of alternate(sides, round + pair))
      samples[side.kind].push(await measureSide(side, bodyFile, Math.max(1, Math.round(seconds))));
  return samples;
}

async function measureSide({ server, headers }: Side, bodyFile: string, seconds: number): Promise<AccessSample> {
  const readGateway = (): number => readServerCpu(server.child.pid)["gateway"]!;
  const before = readGateway();
  const url = `http://127.0.0.1:${server.port}/api/v1/functions/${NAME}/invoke`;
  const { requests, seconds: tookSeconds } = await runWrk({ url, bodyFile, headers, connections: CONNECTIONS, seconds });
  return { callsPerSecond: requests / tookSeconds, gatewayMicros: ((readGateway() - before) * 1e6) / requests };
}
