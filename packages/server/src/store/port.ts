import type { ErrorCode, FunctionSpec, FunctionStatus } from "@kube-serverless/contracts";

/** A spec as it is kept in memory: the code, up to 1 MiB, stays in the store. */
export type SpecWithoutCode = Omit<FunctionSpec, "code">;

/** What runs: a spec whose code loaded once in the sandbox, by its revision. */
export interface ServedRevision {
  revision: number;
  generation: number;
  spec: SpecWithoutCode;
}

/** One function as it is stored. */
export interface StoredFunction {
  /** Names this function and no later one of the same name. */
  uid: string;
  /** ISO 8601. */
  createdAt: string;
  /** Counts every change of the spec, from 1. */
  generation: number;
  /** Counts the changes that need new replicas, from 1. */
  revision: number;
  /** What the user asked for last. */
  spec: SpecWithoutCode;
  status: FunctionStatus;
  /** The last good revision; absent until one loaded. */
  served?: ServedRevision;
}

/**
 * Where functions are kept. Every promise resolves once the write is durable (it survives a power loss).
 * Writes reject with KsError `STORE_UNAVAILABLE` while the disk is full or broken, and change nothing then.
 */
export interface FunctionStore {
  loadFunctions(): Promise<StoredFunction[]>;
  /** Source code of one revision; rejects when the revision is not kept. */
  readCode(uid: string, revision: number): Promise<string>;
  /**
   * Inserts or replaces a function by uid. `code` belongs to `stored.revision` and is needed when that revision is new.
   * Code of revisions that are neither `stored.revision` nor `stored.served.revision` is dropped in the same transaction.
   */
  putFunction(stored: StoredFunction, code?: string): Promise<void>;
  /** Works on a full disk, too. Removes code, metrics and cron runs with it; unknown: does nothing. */
  deleteFunction(uid: string): Promise<void>;
}

export type CronOutcome = "succeeded" | "failed" | "skipped" | "interrupted" | "missed";

export interface CronRun {
  /** uid, type and what defines the trigger: see `triggerId` in triggers/trigger-id.ts. */
  triggerId: string;
  uid: string;
  /** The time that the schedule names; with `triggerId` the key. */
  plannedAtMs: number;
  state: "claimed" | "handed-over" | CronOutcome;
  /** Names the call in the function's log; absent before the hand-over. */
  requestId?: string;
  /** Of a failed run. */
  failure?: CronFailure;
}

/** Why a run failed, as an error answer would tell it. */
export interface CronFailure {
  code: ErrorCode;
  /** At most `MAX_CRON_ERROR_CHARACTERS`. */
  error: string;
}

/** Thousands of runs are kept, some in one small object. */
export const MAX_CRON_ERROR_CHARACTERS = 300;

/** The exactly-once claim of planned times. Durable as FunctionStore is. */
export interface CronStore {
  /** True for exactly one caller a key, for ever (within the kept history). */
  claimCronRun(run: { triggerId: string; uid: string; plannedAtMs: number }): Promise<boolean>;
  /** Committed before the call is sent: a kill afterwards makes the run `interrupted`, never silent. */
  handOverCronRun(triggerId: string, plannedAtMs: number, requestId: string): Promise<void>;
  /** A driver may forget the `failure` of old runs before it forgets the runs. */
  finishCronRun(triggerId: string, plannedAtMs: number, outcome: CronOutcome, failure?: CronFailure): Promise<void>;
  /** Runs that are `claimed` or `handed-over`: what a dead process left. */
  openCronRuns(): Promise<CronRun[]>;
  /** Newest planned time that was claimed, by trigger. */
  latestCronRuns(): Promise<Map<string, number>>;
  /** Newest first, at most `limit`; for showing. */
  listCronRuns(uid: string, limit: number): Promise<CronRun[]>;
}

/** Counters and histograms, one row a function, by its uid; may lose the last second in a crash. Rows of functions that are gone are dropped. */
export interface MetricsStore {
  loadMetrics(): Promise<Map<string, Uint8Array>>;
  saveMetrics(rows: ReadonlyMap<string, Uint8Array>): Promise<void>;
}

export interface Store extends FunctionStore, CronStore, MetricsStore {
  /** False while writes fail (disk full, I/O error); recovers by itself. */
  readonly writable: boolean;
  /** Flushes and closes. */
  stop(): Promise<void>;
}
