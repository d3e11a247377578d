import type { FunctionMetrics } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { MetricsStore } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import { DEFAULT_PRICES, emptyMetrics, FunctionCounters, type LiveFigures, type Prices } from "./function-counters.ts";
import { decodeRow, encodeRow } from "./row.ts";

export interface MetricsRegistryOptions {
  store: MetricsStore;
  clock: Clock;
  tasks: TaskGroup;
  prices?: Prices;
  /** How much a crash may lose. @default 1000 */
  flushIntervalMs?: number;
}

const MAX_RETRY_MS = 30_000;

/** The counters of all functions that were ever called, kept by uid, written to the store once a second where they changed. */
export class MetricsRegistry {
  readonly #store: MetricsStore;
  readonly #clock: Clock;
  readonly #tasks: TaskGroup;
  readonly #prices: Prices;
  readonly #flushIntervalMs: number;
  readonly #byUid = new Map<string, FunctionCounters>();
  readonly #dirty = new Map<string, FunctionCounters>();
  #timer: Timer | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #failures = 0;
  #stopped = false;

  constructor(options: MetricsRegistryOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#tasks = options.tasks;
    this.#prices = options.prices ?? DEFAULT_PRICES;
    this.#flushIntervalMs = options.flushIntervalMs ?? 1_000;
  }

  /** Reads what was counted before; rows that cannot be read begin anew. Before the first call. */
  async load(): Promise<void> {
    for (const [uid, row] of await this.#store.loadMetrics()) {
      const counters = this.#create(uid);
      if (decodeRow(row, counters)) this.#byUid.set(uid, counters);
    }
  }

  /** A function's counters, made now if need be; whoever counts keeps them, and so needs no look-up a call. */
  counters(uid: string): FunctionCounters {
    let counters = this.#byUid.get(uid);
    if (counters === undefined) {
      counters = this.#create(uid);
      this.#byUid.set(uid, counters);
    }
    return counters;
  }

  /** Undefined for a function that was never called. */
  peek(uid: string): FunctionCounters | undefined {
    return this.#byUid.get(uid);
  }

  snapshot(uid: string, live: LiveFigures): FunctionMetrics {
    return this.#byUid.get(uid)?.snapshot(live, this.#prices) ?? emptyMetrics(live);
  }

  /** The function is gone: calls that still run count into the void. To be called before its rows are deleted. */
  remove(uid: string): void {
    this.#byUid.delete(uid);
    this.#dirty.delete(uid);
  }

  /** Writes what changed. @throws what the store throws; nothing is lost then, it is tried again. */
  async flush(): Promise<void> {
    const turn = this.#flushing.then(() => this.#write());
    this.#flushing = turn.catch(() => {});
    return turn;
  }

  /** Writes the rest. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.flush();
  }

  #create(uid: string): FunctionCounters {
    return new FunctionCounters((counters) => this.#onChange(uid, counters));
  }

  #onChange(uid: string, counters: FunctionCounters): void {
    if (this.#byUid.get(uid) !== counters) return;
    this.#dirty.set(uid, counters);
    this.#arm();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    // A full disk is tried ever more seldom, so that it does not fill the log, too.
    const delayMs = Math.min(this.#flushIntervalMs * 2 ** this.#failures, MAX_RETRY_MS);
    this.#timer = this.#clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#tasks.run("metrics flush", () => this.flush());
    });
  }

  async #write(): Promise<void> {
    if (this.#dirty.size === 0) return;
    const changed = [...this.#dirty];
    this.#dirty.clear();
    const rows = new Map<string, Uint8Array>();
    for (const [uid, counters] of changed) {
      counters.markClean();
      rows.set(uid, encodeRow(counters));
    }
    try {
      await this.#store.saveMetrics(rows);
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      for (const [, counters] of changed) counters.markDirty();
      throw error;
    }
  }
}
