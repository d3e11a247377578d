import { KsError } from "@kube-serverless/contracts/error";
import { failpoint } from "../../failpoint.ts";
import type { StoreDatabase } from "./database.ts";
import { DiskSpace } from "./disk-space.ts";
import { type Call, commitGroup } from "./group-commit.ts";
import type { Operation, StoreModule } from "./module.ts";
import { openDatabase } from "./open-database.ts";
import { type FromWorker, packError, type Reply, type Request } from "./protocol.ts";
import { splitGroups } from "./split-groups.ts";
import { diskFullError } from "../disk-full.ts";
import { brokenStoreError, classifyFailure } from "./storage-failure.ts";

export interface EngineOptions {
  folder: string;
  ballastBytes: number;
  /** How often a full disk is looked at again. */
  probeIntervalMs: number;
}

type Kind = "state" | "metrics";
type Known = Omit<Call, "id" | "args"> & { kind: Kind };

// Pages: 4 MiB of log that a restart would have to read again, and as much that one checkpoint writes.
const CHECKPOINT_PAGES = 1000;
// Pages moved at once when a full disk is given space back; bounds the log that this needs.
const VACUUM_PAGES = 500;

/** Answers requests out of both files, and knows what to do when the disk is full or broken. */
export class StoreEngine {
  readonly #options: EngineOptions;
  readonly #send: (message: FromWorker) => void;
  readonly #operations = new Map<string, Known>();
  readonly #state: StoreDatabase;
  readonly #metrics: StoreDatabase;
  readonly #space: DiskSpace;
  #probe: NodeJS.Timeout | undefined;
  #broken = false;

  constructor(options: EngineOptions, modules: readonly StoreModule[], send: (message: FromWorker) => void) {
    this.#options = options;
    this.#send = send;
    for (const module of modules) this.#register(module);
    const of = (kind: Kind) => modules.filter((module) => (module.database ?? "state") === kind);
    this.#space = new DiskSpace(options.folder, options.ballastBytes);
    this.#state = openDatabase(`${options.folder}/state.db`, "state", of("state"));
    this.#metrics = openDatabase(`${options.folder}/metrics.db`, "metrics", of("metrics"));
    this.#space.open();
    if (this.#space.full) this.#becomeFull();
  }

  handle(requests: readonly Request[]): void {
    if (this.#broken) return;
    const calls: Record<Kind, Call[]> = { state: [], metrics: [] };
    for (const { id, operation, args } of requests) {
      const known = this.#operations.get(operation);
      if (known === undefined)
        this.#reply([{ id, error: packError(new KsError("INTERNAL", { message: `No such operation: ${operation}` })) }]);
      else calls[known.kind].push({ id, args, name: known.name, run: known.run, writes: known.writes, freeing: known.freeing });
    }
    this.#guard(() => {
      for (const group of splitGroups(calls.state)) {
        this.#serveState(group);
        this.#checkpoint();
      }
      for (const group of splitGroups(calls.metrics)) this.#serveMetrics(group);
    });
  }

  stop(): void {
    this.#guard(() => {
      this.#tryStorage(() => this.#state.run("PRAGMA wal_checkpoint(TRUNCATE)"));
      this.#metrics.close();
      this.#state.close();
    });
    clearInterval(this.#probe);
  }

  #register(module: StoreModule): void {
    const kind = module.database ?? "state";
    const add = (name: string, run: Operation, writes: boolean, freeing: boolean): void => {
      const operation = `${module.name}.${name}`;
      this.#operations.set(operation, { kind, name: `store.${operation}`, run, writes, freeing });
    };
    for (const [name, run] of Object.entries(module.operations)) add(name, run, true, module.freeing?.includes(name) ?? false);
    for (const [name, run] of Object.entries(module.queries ?? {})) add(name, run, false, false);
  }

  #serveState(calls: readonly Call[]): void {
    if (!this.#space.full) {
      const outcome = commitGroup(this.#state, calls);
      if (outcome.ok) return this.#reply(outcome.replies);
      this.#noteFailure(outcome.cause);
    }
    this.#serveStateOnFullDisk(calls);
  }

  #serveStateOnFullDisk(calls: readonly Call[]): void {
    this.#refuse(calls.filter((call) => call.writes && !call.freeing));
    const allowed = calls.filter((call) => !call.writes || call.freeing);
    if (allowed.length === 0) return;
    let outcome = commitGroup(this.#state, allowed);
    if (!outcome.ok) {
      this.#noteFailure(outcome.cause);
      this.#space.freeBallast();
      // First of all the log must go into the file: that needs as much space as the log at most, and returns it.
      this.#tryStorage(() => this.#state.run("PRAGMA wal_checkpoint(TRUNCATE)"));
      outcome = commitGroup(this.#state, allowed);
    }
    if (!outcome.ok) {
      this.#noteFailure(outcome.cause);
      this.#refuse(allowed.filter((call) => call.writes));
      outcome = commitGroup(
        this.#state,
        allowed.filter((call) => !call.writes),
      );
    }
    if (!outcome.ok) throw outcome.cause;
    this.#reply(outcome.replies);
    if (allowed.some((call) => call.freeing)) this.#giveSpaceBack();
  }

  /** Metrics are no promise: what goes wrong with their file is told to the caller alone. */
  #serveMetrics(calls: readonly Call[]): void {
    const allowed = this.#space.full ? calls.filter((call) => !call.writes || call.freeing) : calls;
    if (this.#space.full) this.#refuse(calls.filter((call) => call.writes && !call.freeing));
    const outcome = commitGroup(this.#metrics, allowed);
    if (outcome.ok) return this.#reply(outcome.replies);
    const full = classifyFailure(outcome.cause, () => this.#space.hasSpace()) === "full";
    const error = packError(full ? diskFullError(this.#options.folder) : brokenStoreError(this.#metrics.path, outcome.cause));
    this.#reply(allowed.map(({ id }) => ({ id, error })));
  }

  /** Returns when the disk is merely full; anything else is thrown, to end the process. */
  #noteFailure(cause: unknown): void {
    if (classifyFailure(cause, () => this.#space.hasSpace()) !== "full") throw cause;
    if (!this.#space.full) this.#becomeFull();
  }

  #becomeFull(): void {
    this.#space.markFull();
    this.#send({ kind: "writable", writable: false });
    this.#probe = setInterval(() => this.#guard(() => this.#tryRecover()), this.#options.probeIntervalMs);
  }

  #tryRecover(): void {
    if ((this.#state.get<{ freelist_count: number }>("PRAGMA freelist_count")?.freelist_count ?? 0) > 0) this.#giveSpaceBack();
    if (!this.#space.tryRecover()) return;
    clearInterval(this.#probe);
    this.#send({ kind: "writable", writable: true });
  }

  /** Returns the pages of deleted rows to the file system, some at a time; SQLite alone would keep them for itself. */
  #giveSpaceBack(): void {
    if (this.#tryVacuum()) return;
    this.#space.freeBallast();
    this.#tryVacuum();
  }

  #tryVacuum(): boolean {
    return this.#tryStorage(() => {
      this.#state.run("PRAGMA wal_checkpoint(TRUNCATE)");
      this.#state.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
      this.#state.run("PRAGMA wal_checkpoint(TRUNCATE)");
    });
  }

  /** False when there was no space for it. */
  #tryStorage(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      this.#noteFailure(error);
      return false;
    }
  }

  /** Done by hand, after the replies are out: SQLite's own would make a caller wait, and swallow a failed fsync. */
  #checkpoint(): void {
    const log = this.#state.get<{ log: number; checkpointed: number }>("PRAGMA wal_checkpoint(NOOP)");
    if (log === undefined || log.log - log.checkpointed < CHECKPOINT_PAGES) return;
    failpoint("store.before-checkpoint");
    this.#tryStorage(() => this.#state.run("PRAGMA wal_checkpoint(PASSIVE)"));
    failpoint("store.after-checkpoint");
  }

  #refuse(calls: readonly Call[]): void {
    const error = packError(diskFullError(this.#options.folder));
    this.#reply(calls.map(({ id }) => ({ id, error })));
  }

  #reply(replies: Reply[]): void {
    if (replies.length === 0) return;
    this.#send({ kind: "replies", replies });
    failpoint("store.after-reply");
  }

  /** After a failure that says the file cannot be trusted, nobody gets another answer. */
  #guard(work: () => void): void {
    if (this.#broken) return;
    try {
      work();
    } catch (cause) {
      this.#broken = true;
      clearInterval(this.#probe);
      this.#send({ kind: "failed", error: packError(brokenStoreError(this.#state.path, cause)) });
    }
  }
}
