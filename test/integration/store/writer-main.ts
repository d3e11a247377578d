/*
 * Writes to a store until it is killed, and says on stdout what it is about to write and what was acknowledged:
 * node writer-main.ts FOLDER SEED [FAILPOINT]
 */
import { writeSync } from "node:fs";
import { createSqliteStore, type SqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import type { StoredFunction } from "../../../packages/server/src/store/port.ts";
import { seededRandom } from "./random.ts";
import { buildFunction } from "./store-suite.ts";

export const WRITERS = 8;

/** What is in the store under one writer's key: generation 0 stands for nothing. */
export interface Seen {
  key: string;
  generation: number;
  codeLength: number;
}

/** Straight to the pipe, as what a stream still holds would die with the process; waits while the reader is behind. */
function say(line: object): void {
  let rest = Buffer.from(`${JSON.stringify(line)}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Text that shows whether it is all of one piece. */
function buildCode(generation: number, length: number): string {
  return `${generation}:`.padEnd(length, String(generation % 10));
}

async function observe(store: SqliteStore, stored: StoredFunction): Promise<Seen> {
  const code = await store.readCode(stored.uid, stored.revision);
  const torn = code !== buildCode(stored.generation, code.length) || stored.status.observedGeneration !== stored.generation;
  return { key: stored.uid, generation: torn ? -1 : stored.generation, codeLength: code.length };
}

async function writeForEver(store: SqliteStore, key: string, from: number, random: () => number): Promise<void> {
  let exists = from > 0;
  for (let generation = from + 1; ; generation++) {
    if (exists && random() < 0.15) {
      say({ start: { key, generation: 0, codeLength: 0 } });
      await store.deleteFunction(key);
      say({ done: { key, generation: 0, codeLength: 0 } });
      exists = false;
    }
    const code = buildCode(generation, 10 + Math.floor(random() * 60_000));
    const status = { state: "running", observedGeneration: generation, revision: generation } as const;
    say({ start: { key, generation, codeLength: code.length } });
    await store.putFunction(buildFunction(key, { generation, revision: generation, status }), code);
    say({ done: { key, generation, codeLength: code.length } });
    exists = true;
  }
}

async function claimForEver(store: SqliteStore, from: number): Promise<void> {
  for (let plannedAtMs = from + 1; ; plannedAtMs++) {
    const claimed = await store.claimCronRun({ triggerId: "cron", uid: "cron", plannedAtMs });
    say({ claimed: plannedAtMs, again: !claimed });
  }
}

if (import.meta.main) {
  const [folder, seed, failpoint] = process.argv.slice(2) as [string, string, string | undefined];
  const onFatal = (error: Error) => {
    say({ fatal: error.message });
    process.exit(70);
  };
  const store = await createSqliteStore({ folder, ballastBytes: 65_536, failpoint, onFatal });
  const found = await Promise.all((await store.loadFunctions()).map((stored) => observe(store, stored)));
  const latest = (await store.latestCronRuns()).get("cron") ?? 0;
  say({ found, latest });
  const random = seededRandom(Number(seed));
  for (let index = 0; index < WRITERS; index++) {
    const key = `writer-${index}`;
    const seen = found.find((one) => one.key === key);
    writeForEver(store, key, seen?.generation ?? 0, random).catch((error) => say({ error: String(error) }));
  }
  claimForEver(store, latest).catch((error) => say({ error: String(error) }));
}
