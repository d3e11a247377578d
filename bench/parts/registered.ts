import { join } from "node:path";
import { fillStore } from "../../test/support/fill-store.ts";
import type { BenchContext } from "../context.ts";
import { collectGarbage } from "../load/inspector.ts";
import { readRssBytes } from "../system/process-memory.ts";
import { startBenchServer } from "../variants/bench-server.ts";

export interface RegisteredResult {
  count: number;
  /** Of the server, with that many functions and with none, after a collection. */
  rssBytes: { full: number; empty: number };
  bytesPerFunction: number;
}

const COLLECTIONS = 4;

/** Memory of the server for a function that is deployed and never called. */
export async function measureRegistered(context: BenchContext, count: number): Promise<RegisteredResult> {
  const emptyFolder = join(context.folder, "registered-0");
  const fullFolder = join(context.folder, `registered-${count}`);
  context.progress.step(`storing ${count} functions`);
  await fillStore(fullFolder, { functions: count });
  const empty = await measureServer(context, emptyFolder, 0);
  const full = await measureServer(context, fullFolder, count);
  return { count, rssBytes: { full, empty }, bytesPerFunction: (full - empty) / count };
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
