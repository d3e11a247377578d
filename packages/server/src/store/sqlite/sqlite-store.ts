import { openDataFolder, type DataFolder } from "../data-folder.ts";
import type { CronFailure, CronOutcome, CronRun, Store, StoredFunction } from "../port.ts";
import { createSqliteClient, type SqliteClient, type SqliteClientOptions } from "./client.ts";
import type { FunctionRow, PutFunction } from "./functions-module.ts";
import { exactBytes } from "./module.ts";

/** The store of one machine: two SQLite files in a folder that this process alone uses. */
export interface SqliteStore extends Store {
  /** Runs the operations of the modules given at creation, in the same transactions as the store's own. */
  readonly client: SqliteClient;
}

export interface SqliteStoreOptions extends Omit<SqliteClientOptions, "modules"> {
  /** Made when it is missing, and locked for as long as the store is open. */
  folder: string;
  /** Further modules that keep rows in the same files. @default none */
  modules?: readonly URL[];
}

const OWN_MODULES = ["./cron-module.ts", "./functions-module.ts", "./metrics-module.ts"].map((file) => new URL(file, import.meta.url));
// A long save in one transaction would keep the worker from its commits.
const METRICS_ROWS_AT_ONCE = 200;

/**
 * Opens the store, bringing older files up to date.
 * @throws KsError `STORE_UNAVAILABLE` when another server uses the folder, or a file is damaged, newer than this program, or not ours.
 */
export async function createSqliteStore(options: SqliteStoreOptions): Promise<SqliteStore> {
  const folder = openDataFolder(options.folder);
  try {
    const modules = [...OWN_MODULES, ...(options.modules ?? [])];
    return new ClientStore(await createSqliteClient({ ...options, folder: folder.path, modules }), folder);
  } catch (error) {
    folder.close();
    throw error;
  }
}

class ClientStore implements SqliteStore {
  readonly client: SqliteClient;
  readonly #folder: DataFolder;

  constructor(client: SqliteClient, folder: DataFolder) {
    this.client = client;
    this.#folder = folder;
  }

  get writable(): boolean {
    return this.client.writable;
  }

  async stop(): Promise<void> {
    await this.client.stop();
    this.#folder.close();
  }

  async loadFunctions(): Promise<StoredFunction[]> {
    return (await this.client.run<FunctionRow[]>("functions.load")).map(parseRow);
  }

  readCode(uid: string, revision: number): Promise<string> {
    return this.client.run("functions.readCode", { uid, revision });
  }

  putFunction(stored: StoredFunction, code?: string): Promise<void> {
    const args: PutFunction = { row: buildRow(stored), code, servedRevision: stored.served?.revision };
    return this.client.run("functions.put", args);
  }

  async deleteFunction(uid: string): Promise<void> {
    await this.client.run("functions.remove", { uid });
    await this.client.run("metrics.remove", [uid]);
  }

  claimCronRun(run: { triggerId: string; uid: string; plannedAtMs: number }): Promise<boolean> {
    return this.client.run("cron.claim", run);
  }

  handOverCronRun(triggerId: string, plannedAtMs: number, requestId: string): Promise<void> {
    return this.client.run("cron.handOver", { triggerId, plannedAtMs, requestId });
  }

  finishCronRun(triggerId: string, plannedAtMs: number, outcome: CronOutcome, failure?: CronFailure): Promise<void> {
    return this.client.run("cron.finish", { triggerId, plannedAtMs, outcome, failure });
  }

  openCronRuns(): Promise<CronRun[]> {
    return this.client.run("cron.open");
  }

  async latestCronRuns(): Promise<Map<string, number>> {
    const rows = await this.client.run<{ triggerId: string; atMs: number }[]>("cron.latest");
    return new Map(rows.map((row) => [row.triggerId, row.atMs]));
  }

  listCronRuns(uid: string, limit: number): Promise<CronRun[]> {
    return this.client.run("cron.list", { uid, limit });
  }

  async loadMetrics(): Promise<Map<string, Uint8Array>> {
    const rows = await this.client.run<{ uid: string; data: Uint8Array }[]>("metrics.load");
    const known = new Set(await this.client.run<string[]>("functions.uids"));
    // Left by a save that came after its function's end, or by a crash between the two files' commits.
    const orphans = rows.filter((row) => !known.has(row.uid)).map((row) => row.uid);
    if (orphans.length > 0 && this.writable) await this.client.run("metrics.remove", orphans);
    return new Map(rows.filter((row) => known.has(row.uid)).map((row) => [row.uid, row.data]));
  }

  async saveMetrics(rows: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const all = [...rows].map(([uid, data]) => ({ uid, data: exactBytes(data) }));
    for (let from = 0; from < all.length; from += METRICS_ROWS_AT_ONCE) {
      await this.client.run("metrics.save", all.slice(from, from + METRICS_ROWS_AT_ONCE));
    }
  }
}

function buildRow(stored: StoredFunction): FunctionRow {
  return {
    uid: stored.uid,
    name: stored.spec.name,
    createdAt: stored.createdAt,
    generation: stored.generation,
    revision: stored.revision,
    spec: JSON.stringify(stored.spec),
    status: JSON.stringify(stored.status),
    served: stored.served === undefined ? null : JSON.stringify(stored.served),
  };
}

function parseRow(row: FunctionRow): StoredFunction {
  const stored: StoredFunction = {
    uid: row.uid,
    createdAt: row.createdAt,
    generation: row.generation,
    revision: row.revision,
    spec: JSON.parse(row.spec),
    status: JSON.parse(row.status),
  };
  if (row.served === null) return stored;
  const served = JSON.parse(row.served) as NonNullable<StoredFunction["served"]>;
  // The same text, so one object in memory is enough.
  stored.served = served.generation === row.generation ? { ...served, spec: stored.spec } : served;
  return stored;
}
