import { KsError } from "@kube-serverless/contracts/error";
import { defined } from "../defined.ts";
import type { CronFailure, CronOutcome, CronRun, Store, StoredFunction } from "./port.ts";

/** A store without a disk, for unit tests and simulations. */
export interface MemoryStore extends Store {
  /** Makes writes fail as on a full disk, or work again. */
  setWritable(writable: boolean): void;
  /** What the next process finds after this one died; this one's store is closed from then on. */
  restart(): MemoryStore;
}

export function createMemoryStore(): MemoryStore {
  return new HeapStore({ functions: new Map(), code: new Map(), runs: new Map(), metrics: new Map() });
}

interface Rows {
  functions: Map<string, StoredFunction>;
  code: Map<string, Map<number, string>>;
  runs: Map<string, Map<number, CronRun>>;
  metrics: Map<string, Uint8Array>;
}

// As many as the SQLite driver keeps.
const RUNS_KEPT_PER_TRIGGER = 100;

class HeapStore implements MemoryStore {
  readonly #rows: Rows;
  #writable = true;
  #stopped = false;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  get writable(): boolean {
    return this.#writable && !this.#stopped;
  }

  setWritable(writable: boolean): void {
    this.#writable = writable;
  }

  restart(): MemoryStore {
    this.#stopped = true;
    return new HeapStore(this.#rows);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
  }

  async loadFunctions(): Promise<StoredFunction[]> {
    this.#assertOpen();
    const all = [...this.#rows.functions.values()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
    return structuredClone(all);
  }

  async readCode(uid: string, revision: number): Promise<string> {
    this.#assertOpen();
    const code = this.#rows.code.get(uid)?.get(revision);
    if (code === undefined) throw missingCode(uid, revision);
    return code;
  }

  async putFunction(stored: StoredFunction, code?: string): Promise<void> {
    this.#assertWritable();
    for (const other of this.#rows.functions.values()) {
      if (other.spec.name === stored.spec.name && other.uid !== stored.uid) throw new KsError("FUNCTION_EXISTS");
    }
    const kept = new Map<number, string>();
    for (const revision of [stored.revision, stored.served?.revision ?? stored.revision]) {
      const text = revision === stored.revision && code !== undefined ? code : this.#rows.code.get(stored.uid)?.get(revision);
      if (text === undefined) throw missingCode(stored.uid, revision);
      kept.set(revision, text);
    }
    this.#rows.functions.set(stored.uid, structuredClone(stored));
    this.#rows.code.set(stored.uid, kept);
  }

  async deleteFunction(uid: string): Promise<void> {
    this.#assertOpen();
    this.#rows.functions.delete(uid);
    this.#rows.code.delete(uid);
    this.#rows.metrics.delete(uid);
    for (const runs of this.#rows.runs.values()) {
      for (const run of runs.values()) if (run.uid === uid) runs.delete(run.plannedAtMs);
    }
  }

  async claimCronRun({ triggerId, uid, plannedAtMs }: { triggerId: string; uid: string; plannedAtMs: number }): Promise<boolean> {
    this.#assertWritable();
    const runs = this.#rows.runs.get(triggerId) ?? new Map<number, CronRun>();
    this.#rows.runs.set(triggerId, runs);
    if (runs.has(plannedAtMs) || plannedAtMs <= oldestKept(runs)) return false;
    runs.set(plannedAtMs, { triggerId, uid, plannedAtMs, state: "claimed" });
    const oldest = oldestKept(runs);
    for (const run of runs.values()) if (run.plannedAtMs < oldest && !isOpen(run)) runs.delete(run.plannedAtMs);
    return true;
  }

  async handOverCronRun(triggerId: string, plannedAtMs: number, requestId: string): Promise<void> {
    this.#changeRun(triggerId, plannedAtMs, { state: "handed-over", requestId });
  }

  async finishCronRun(triggerId: string, plannedAtMs: number, outcome: CronOutcome, failure?: CronFailure): Promise<void> {
    this.#changeRun(triggerId, plannedAtMs, { state: outcome, ...defined({ failure }) });
  }

  async openCronRuns(): Promise<CronRun[]> {
    return this.#allRuns()
      .filter(isOpen)
      .sort((a, b) => a.plannedAtMs - b.plannedAtMs);
  }

  async latestCronRuns(): Promise<Map<string, number>> {
    const latest = new Map<string, number>();
    for (const { triggerId, plannedAtMs } of this.#allRuns())
      latest.set(triggerId, Math.max(plannedAtMs, latest.get(triggerId) ?? -Infinity));
    return latest;
  }

  async listCronRuns(uid: string, limit: number): Promise<CronRun[]> {
    return this.#allRuns()
      .filter((run) => run.uid === uid)
      .sort((a, b) => b.plannedAtMs - a.plannedAtMs)
      .slice(0, limit);
  }

  async loadMetrics(): Promise<Map<string, Uint8Array>> {
    this.#assertOpen();
    return new Map([...this.#rows.metrics].filter(([uid]) => this.#rows.functions.has(uid)).map(([uid, data]) => [uid, data.slice()]));
  }

  async saveMetrics(rows: ReadonlyMap<string, Uint8Array>): Promise<void> {
    this.#assertWritable();
    for (const [uid, data] of rows) this.#rows.metrics.set(uid, data.slice());
  }

  #allRuns(): CronRun[] {
    this.#assertOpen();
    return [...this.#rows.runs.values()].flatMap((runs) => [...runs.values()].map((run) => ({ ...run })));
  }

  #changeRun(triggerId: string, plannedAtMs: number, change: Partial<CronRun>): void {
    this.#assertWritable();
    const run = this.#rows.runs.get(triggerId)?.get(plannedAtMs);
    if (run !== undefined) Object.assign(run, change);
  }

  #assertOpen(): void {
    if (this.#stopped) throw new KsError("STORE_UNAVAILABLE", { message: "The store is closed, as the server is stopping" });
  }

  #assertWritable(): void {
    this.#assertOpen();
    if (!this.#writable)
      throw new KsError("STORE_UNAVAILABLE", { message: "The disk is full: free space; writing goes on by itself then" });
  }
}

function isOpen(run: CronRun): boolean {
  return run.state === "claimed" || run.state === "handed-over";
}

function oldestKept(runs: ReadonlyMap<number, CronRun>): number {
  const newestFirst = [...runs.keys()].sort((a, b) => b - a);
  return newestFirst[RUNS_KEPT_PER_TRIGGER - 1] ?? Number.NEGATIVE_INFINITY;
}

function missingCode(uid: string, revision: number): KsError {
  return new KsError("INTERNAL", { message: `The code of revision ${revision} is not kept`, details: { uid, revision } });
}
