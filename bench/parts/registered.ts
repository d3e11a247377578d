import { join } from "node:path";
import { parseFunctionSpec } from "@kube-serverless/contracts";
import type { BenchContext } from "../context.ts";
import { collectGarbage } from "../load/inspector.ts";
import { readRssBytes } from "../system/process-memory.ts";
import { startBenchServer } from "../variants/bench-server.ts";
import { createSqliteStore } from "../../packages/server/src/store/sqlite/sqlite-store.ts";

export interface RegisteredResult {
  count: number;
  /** Of the server, with that many functions and with none, after a collection. */
  rssBytes: { full: number; empty: number };
  bytesPerFunction: number;
}

const COLLECTIONS = 4;
const WRITES_AT_ONCE = 500;

/** Memory of the server for a function that is deployed and never called. */
export async function measureRegistered(context: BenchContext, count: number): Promise<RegisteredResult> {
  const emptyFolder = join(context.folder, "registered-0");
  const fullFolder = join(context.folder, `registered-${count}`);
  context.progress.step(`storing ${count} functions`);
  await storeFunctions(fullFolder, count);
  const empty = await measureServer(context, emptyFolder, 0);
  const full = await measureServer(context, fullFolder, count);
  return { count, rssBytes: { full, empty }, bytesPerFunction: (full - empty) / count };
}

/** As deploys leave them, but without the replica that each of them would check its code in. */
async function storeFunctions(folder: string, count: number): Promise<void> {
  const store = await createSqliteStore({
    folder,
    onFatal: (error) => {
      throw error;
    },
  });
  for (let from = 0; from < count; from += WRITES_AT_ONCE) {
    const batch = Array.from({ length: Math.min(WRITES_AT_ONCE, count - from) }, (_, i) => storeFunction(store, from + i));
    await Promise.all(batch);
  }
  await store.stop();
}

/** The function that the documentation creates. */
function storeFunction(store: Awaited<ReturnType<typeof createSqliteStore>>, index: number): Promise<void> {
  const name = `registered-${index}`;
  const { code, ...spec } = parseFunctionSpec({
    name,
    runtime: "nodejs18",
    handler: "index.handler",
    code: `module.exports.handler = async (event) => { return { statusCode: 200, body: 'Hello ${index}!' }; };`,
    environment: { VAR1: "value1" },
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [{ type: "http", config: { path: `/${name}` } }],
  });
  const nowIso = new Date().toISOString();
  const stored = {
    uid: `bench${index}`,
    createdAt: nowIso,
    generation: 1,
    revision: 1,
    spec,
    status: { state: "running" as const, observedGeneration: 1, revision: 1, runtimeVersion: "18.20.8", lastDeployment: nowIso },
    served: { revision: 1, generation: 1, spec },
  };
  return store.putFunction(stored, code);
}

async function measureServer({ environment, progress }: BenchContext, dataFolder: string, count: number): Promise<number> {
  progress.step(`memory of a server with ${count} functions`);
  // Nothing waits for functions, so that the difference is that of the functions alone.
  const flags = ["--pool-size", "0"];
  await using server = await startBenchServer({ dataFolder, environment, flags, nodeFlags: ["--inspect=127.0.0.1:0"] });
  const listed = JSON.parse((await server.control("GET", `/api/v1/functions?limit=1`)).body) as unknown[];
  if (listed.length !== Math.min(count, 1)) throw new Error("the server does not have the functions that were stored");
  const inspectorUrl = /ws:\/\/\S+/.exec(server.child.stderr)?.[0];
  if (inspectorUrl === undefined) throw new Error("the server has no inspector");
  for (let i = 0; i < COLLECTIONS; i++) await collectGarbage(inspectorUrl);
  return readRssBytes(server.child.pid);
}
