import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { KsError, type LogEntry } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { LogFollower } from "./following.ts";
import { FunctionLog, type PendingBudget } from "./function-log.ts";
import { LineSplitter } from "./line-splitter.ts";
import type { LogQuery } from "./query.ts";
import { type SegmentLimits, Segments } from "./segments.ts";

export interface FunctionLogsOptions {
  /** Made when the first line is written; one folder a function within. */
  folder: string;
  clock: Clock;
  /** Told of a disk that fails; lines are dropped and counted meanwhile. */
  onWriteError?: (error: unknown, uid: string) => void;
  /** Kept of each function. @default 10 MiB in files of 2.5 MiB */
  limits?: SegmentLimits;
  /** How much of one function may wait to be written, in characters. @default 1048576 */
  maxPendingCharacters?: number;
  /** The same of all functions together. @default 33554432 */
  maxTotalPendingCharacters?: number;
}

/** Where lines come from. */
export interface LogSource {
  stream: "stdout" | "stderr";
  requestId: string | null;
  replica: string;
  revision: number;
}

/** Takes the bytes of one pipe. */
export interface LineSink {
  /** @param requestId of who wrote it, null where nobody knows */
  write(chunk: Buffer, requestId: string | null): void;
  /** The pipe has ended: what came last without a line's end is a line, too. */
  end(): void;
}

/** What functions print, kept on disk by the function's uid; nothing here ever blocks or throws at who prints. */
export interface FunctionLogs {
  append(uid: string, entry: LogEntry): void;
  /** The body of a LOG frame: lines parted by `\n`; `truncated` speaks of the last one. */
  appendLines(uid: string, source: LogSource, body: Buffer, timeMs: number, truncated: boolean): void;
  lineSink(uid: string, source: LogSource): LineSink;
  /** Oldest first. */
  query(uid: string, query: LogQuery): Promise<LogEntry[]>;
  /** What `query` asks for, then what comes. */
  follow(uid: string, query: LogQuery, follower: LogFollower): { stop(): void };
  /** Deletes a function's log; what its last replicas still print is thrown away. */
  remove(uid: string): Promise<void>;
  /** Empties a function's log, whose lines are kept elsewhere from now on; it may be written again. */
  clear(uid: string): Promise<void>;
  /** Functions that have a log here. */
  uids(): Promise<string[]>;
  /** Deletes the logs of functions that are not there any more, as a kill in the middle of a deletion leaves them. */
  prune(uids: ReadonlySet<string>): Promise<void>;
  /** Writes what waits, ends those who follow. */
  stop(): Promise<void>;
}

const MEBIBYTE = 1_048_576;
const DEFAULT_LIMITS: SegmentLimits = { totalBytes: 10 * MEBIBYTE, segmentBytes: 2.5 * MEBIBYTE };
/** From the first line to its write: lines of one moment share a write. */
const FLUSH_DELAY_MS = 50;
/** So much of one function is written at once. */
const FLUSH_CHARACTERS = 262_144;
const RETRY_DELAY_MS = 1_000;
const REMOVED_KEPT = 1_000;

export function createFunctionLogs(options: FunctionLogsOptions): FunctionLogs {
  return new DiskFunctionLogs(options);
}

class DiskFunctionLogs implements FunctionLogs {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #onWriteError: (error: unknown, uid: string) => void;
  readonly #limits: SegmentLimits;
  readonly #maxPending: number;
  readonly #budget: PendingBudget;
  readonly #byUid = new Map<string, FunctionLog>();
  /** Uids are never used again, so that the last ones are enough to know a late line. */
  readonly #removed = new Set<string>();
  readonly #waiting = new Set<string>();
  #timer: Timer | undefined;
  #flushing: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: FunctionLogsOptions) {
    this.#folder = options.folder;
    this.#clock = options.clock;
    this.#onWriteError = options.onWriteError ?? (() => {});
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#maxPending = options.maxPendingCharacters ?? MEBIBYTE;
    this.#budget = { usedCharacters: 0, maxCharacters: options.maxTotalPendingCharacters ?? 32 * MEBIBYTE };
  }

  append(uid: string, entry: LogEntry): void {
    if (this.#isStopped || this.#removed.has(uid)) return;
    const log = this.#log(uid);
    const before = log.pendingCharacters;
    log.append(entry);
    this.#waiting.add(uid);
    if (log.pendingCharacters < FLUSH_CHARACTERS) this.#arm(FLUSH_DELAY_MS);
    else if (before < FLUSH_CHARACTERS) this.#arm(0);
  }

  appendLines(uid: string, source: LogSource, body: Buffer, timeMs: number, truncated: boolean): void {
    for (const entry of buildEntries(source, body, timeMs, truncated, this.#clock.nowMs())) this.append(uid, entry);
  }

  lineSink(uid: string, source: LogSource): LineSink {
    let { requestId } = source;
    const splitter = new LineSplitter((message, truncated) => {
      const nowMs = this.#clock.nowMs();
      this.append(uid, buildEntry({ ...source, requestId }, formatTime(nowMs, nowMs), message, truncated));
    });
    return {
      write: (chunk, writer) => {
        requestId = writer;
        splitter.write(chunk);
      },
      end: () => splitter.end(),
    };
  }

  async query(uid: string, query: LogQuery): Promise<LogEntry[]> {
    return this.#removed.has(uid) ? [] : this.#log(uid).query(query);
  }

  follow(uid: string, query: LogQuery, follower: LogFollower): { stop(): void } {
    if (!this.#removed.has(uid) && !this.#isStopped) return this.#log(uid).follow(query, follower);
    queueMicrotask(() => follower.onEnd());
    return { stop: () => {} };
  }

  async remove(uid: string): Promise<void> {
    this.#removed.add(uid);
    if (this.#removed.size > REMOVED_KEPT) this.#removed.delete(this.#removed.values().next().value!);
    await this.clear(uid);
  }

  async clear(uid: string): Promise<void> {
    const log = this.#log(uid);
    this.#byUid.delete(uid);
    this.#waiting.delete(uid);
    log.end();
    await this.#flushing;
    await log.remove();
  }

  async uids(): Promise<string[]> {
    const folders = await readdir(this.#folder).catch(() => []);
    return [...new Set([...folders, ...this.#byUid.keys()])];
  }

  async prune(uids: ReadonlySet<string>): Promise<void> {
    const folders = await readdir(this.#folder).catch(() => []);
    for (const name of folders) if (!uids.has(name)) await rm(join(this.#folder, name), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#flushing;
    let failed = false;
    while (this.#waiting.size > 0 && !failed) failed = await this.#flushAll();
    for (const log of this.#byUid.values()) log.end();
  }

  #log(uid: string): FunctionLog {
    let log = this.#byUid.get(uid);
    if (log === undefined) {
      const options = { nowMs: () => this.#clock.nowMs(), maxPendingCharacters: this.#maxPending, budget: this.#budget };
      log = new FunctionLog(new Segments(this.#folderOf(uid), this.#limits), options);
      this.#byUid.set(uid, log);
    }
    return log;
  }

  #folderOf(uid: string): string {
    if (!/^[A-Za-z0-9_-]{1,128}$/.test(uid)) throw new KsError("INTERNAL", { message: `A uid must be usable as a folder's name: ${uid}` });
    return join(this.#folder, uid);
  }

  #arm(delayMs: number): void {
    if (this.#flushing !== undefined || this.#isStopped) return;
    if (this.#timer !== undefined && delayMs > 0) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#flushing = this.#flushAll().then((failed) => {
        this.#flushing = undefined;
        if (this.#waiting.size > 0) this.#arm(failed ? RETRY_DELAY_MS : FLUSH_DELAY_MS);
      });
    });
  }

  /** One function after another: logs must not take the threads that calls and the store need. */
  async #flushAll(): Promise<boolean> {
    let failed = false;
    for (const uid of [...this.#waiting]) {
      const log = this.#byUid.get(uid);
      if (log === undefined) continue;
      this.#waiting.delete(uid);
      try {
        await log.flush();
        if (log.pendingCharacters > 0 && this.#byUid.get(uid) === log) this.#waiting.add(uid);
      } catch (error) {
        failed = true;
        this.#onWriteError(error, uid);
        if (this.#byUid.get(uid) === log) this.#waiting.add(uid);
      }
    }
    return failed;
  }
}

/** The entries of a LOG frame's body: lines parted by `\n`; `truncated` speaks of the last one. */
export function buildEntries(source: LogSource, body: Buffer, timeMs: number, truncated: boolean, nowMs: number): LogEntry[] {
  const lines = body.toString().split("\n");
  const time = formatTime(timeMs, nowMs);
  return lines.map((message, index) => buildEntry(source, time, message, truncated && index === lines.length - 1));
}

/** Makes entries of what comes through a pipe. */
export function createLineSink(source: LogSource, clock: Clock, append: (entry: LogEntry) => void): LineSink {
  return new LineSplitter((message, truncated) => {
    const nowMs = clock.nowMs();
    append(buildEntry(source, formatTime(nowMs, nowMs), message, truncated));
  });
}

function buildEntry(source: LogSource, time: string, message: string, truncated: boolean): LogEntry {
  const { stream, requestId, replica, revision } = source;
  const entry: LogEntry = { time, stream, requestId, replica, revision, message };
  if (truncated) entry.truncated = true;
  return entry;
}

/** A replica says when it printed; what is no time, or one to come, is now. */
function formatTime(timeMs: number, nowMs: number): string {
  const isSane = Number.isFinite(timeMs) && timeMs >= 0 && timeMs <= nowMs;
  return new Date(isSane ? timeMs : nowMs).toISOString();
}
