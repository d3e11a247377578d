/* Fills the small disk that FOLDER is on, and tells on stdout what a store does then: node disk-full-main.ts FOLDER SCENARIO */
import { closeSync, existsSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { KsError } from "../../../packages/contracts/src/index.ts";
import { createSqliteStore, type SqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, waitFor } from "./scratch.ts";
import { buildFunction } from "./store-suite.ts";

const BALLAST_BYTES = 6 * 1024 * 1024;
const CODE = "x".repeat(100_000);
const [mount, scenario] = process.argv.slice(2) as [string, string];
const folder = `${mount}/data`;
const filler = `${mount}/filler`;
const facts: Record<string, unknown> = {};

function open(): Promise<SqliteStore> {
  return createSqliteStore({ folder, ballastBytes: BALLAST_BYTES, probeIntervalMs: 20, onFatal: failOnFatal });
}

/** Leaves not a byte. */
function fillDisk(): void {
  const descriptor = openSync(filler, "a");
  for (let size = 1024 * 1024; size >= 1; ) {
    try {
      writeSync(descriptor, Buffer.alloc(size, 1));
    } catch {
      size = Math.floor(size / 2);
    }
  }
  closeSync(descriptor);
}

/** Puts functions until one is refused; the uids that were acknowledged, and the refusal. */
async function putUntilRefused(store: SqliteStore, prefix: string): Promise<{ uids: string[]; refusal: unknown }> {
  const uids: string[] = [];
  for (;;) {
    const uid = `${prefix}-${uids.length}`;
    try {
      await store.putFunction(buildFunction(uid), CODE);
      uids.push(uid);
    } catch (refusal) {
      return { uids, refusal };
    }
  }
}

async function holdsExactly(store: SqliteStore, uids: readonly string[]): Promise<boolean> {
  const found = (await store.loadFunctions()).map((stored) => stored.uid).sort();
  const codes = await Promise.all(found.map((uid) => store.readCode(uid, 1)));
  return found.join() === uids.toSorted().join() && codes.every((code) => code === CODE);
}

async function recovers(store: SqliteStore): Promise<boolean> {
  await waitFor("the store to recover", () => store.writable);
  await store.putFunction(buildFunction("after"), CODE);
  return statSync(`${folder}/ballast`).size === BALLAST_BYTES;
}

/** Something else took the space, and gives it back. */
async function othersFill(): Promise<void> {
  let store = await open();
  const first = await putMany(store, 5);
  fillDisk();
  const { uids, refusal } = await putUntilRefused(store, "late");
  const all = [...first, ...uids];
  facts.refusal = describe(refusal);
  facts.writableWhileFull = store.writable;
  facts.refusedAtOnce = describe(await store.claimCronRun({ triggerId: "t", uid: "u", plannedAtMs: 1 }).catch((error) => error));
  facts.readsGoOn = await holdsExactly(store, all);
  for (const uid of all.splice(0, 3)) await store.deleteFunction(uid);
  facts.deletesWork = await holdsExactly(store, all);
  rmSync(filler);
  facts.recovers = await recovers(store);
  await store.stop();
  store = await open();
  facts.keptAll = await holdsExactly(store, [...all, "after"]);
  await store.stop();
}

/** The store's own rows took the space, and deleting them must bring it back. */
async function ownRowsFill(): Promise<void> {
  const store = await open();
  const { uids, refusal } = await putUntilRefused(store, "own");
  facts.refusal = describe(refusal);
  const deleted = uids.splice(0, Math.ceil(uids.length / 2));
  for (const uid of deleted) await store.deleteFunction(uid);
  facts.deletesWork = await holdsExactly(store, uids);
  facts.recovers = await recovers(store);
  await store.stop();
}

/** A server that starts when there is no space must serve, and recover. */
async function startsFull(): Promise<void> {
  let store = await open();
  const uids = await putMany(store, 5);
  await store.stop();
  rmSync(`${folder}/ballast`);
  fillDisk();
  store = await open();
  facts.writableAtStart = store.writable;
  facts.readsGoOn = await holdsExactly(store, uids);
  facts.hasBallast = existsSync(`${folder}/ballast`);
  rmSync(filler);
  facts.recovers = await recovers(store);
  await store.stop();
}

async function putMany(store: SqliteStore, count: number): Promise<string[]> {
  const uids = Array.from({ length: count }, (_, index) => `first-${index}`);
  for (const uid of uids) await store.putFunction(buildFunction(uid), CODE);
  return uids;
}

function describe(error: unknown): string {
  return error instanceof KsError ? `${error.code}: ${error.message}` : `not refused properly: ${String(error)}`;
}

const scenarios: Record<string, () => Promise<void>> = { othersFill, ownRowsFill, startsFull };
await scenarios[scenario]?.();
console.log(JSON.stringify(facts));
