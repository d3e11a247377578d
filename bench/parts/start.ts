import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { fillStore } from "../../test/support/fill-store.ts";
import type { BenchContext } from "../context.ts";
import { readProcesses, treeSeconds } from "../system/process-times.ts";
import { Child } from "../variants/child.ts";
import { alternate, measureRounds } from "./rounds.ts";

/** One start, from typing `npm start` until it listens. */
export interface Start {
  ms: number;
  /** Of npm, the server, and all that they started and waited for. */
  cpuMs: number;
}

export const START_KINDS = ["empty", "full"] as const;
export type StartKind = (typeof START_KINDS)[number];

export interface StartResult {
  functions: number;
  messages: number;
  samples: Record<StartKind, Start[]>;
  foreignLoads: number[];
  discarded: number[];
}

export interface StartPlan {
  rounds: number;
  functions: number;
  messages: number;
}

/** Starts in an empty folder, where programs are asked for their versions, and in one with functions and messages that was used before. */
export async function measureStarts(context: BenchContext, { rounds, functions, messages }: StartPlan): Promise<StartResult> {
  const full = join(context.folder, "start-full");
  context.progress.step(`storing ${functions} functions and ${messages} messages`);
  await fillStore(full, { functions, messages });
  const folders: Record<StartKind, () => string> = {
    empty: () => mkdtempSync(join(context.folder, "start-empty-")),
    full: () => full,
  };
  // The compiled code of the server and the programs' answers are kept from now on.
  for (const kind of START_KINDS) await start(context, folders[kind]());
  const { kept, discarded } = await measureRounds(context, "starts", rounds, async (round) => {
    const starts = {} as Record<StartKind, Start>;
    for (const kind of alternate(START_KINDS, round)) starts[kind] = await start(context, folders[kind]());
    return starts;
  });
  return {
    functions,
    messages,
    samples: { empty: kept.map(({ value }) => value.empty), full: kept.map(({ value }) => value.full) },
    foreignLoads: kept.map(({ foreignLoad }) => foreignLoad),
    discarded,
  };
}

async function start({ environment }: BenchContext, dataFolder: string): Promise<Start> {
  const startMs = performance.now();
  const child = new Child("npm", ["start", "--", "--port", "0", "--log-format", "json", "--data-dir", dataFolder], environment);
  await child.awaitLine((line) => (line.includes('"listening"') ? true : undefined));
  const ms = performance.now() - startMs;
  const { root, below } = treeSeconds(child.pid, readProcesses());
  await child.stop();
  return { ms, cpuMs: (root + below) * 1000 };
}
