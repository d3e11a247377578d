import { KsError, type LogEntry } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { TaskGroup } from "../task-group.ts";
import type { LogFollower } from "./following.ts";
import { buildEntries, createLineSink, type FunctionLogs, type LineSink, type LogSource } from "./function-logs.ts";
import { DEFAULT_TAIL, type LogQuery } from "./query.ts";
import { RoutedFollowing } from "./routed-following.ts";

/** The gateways of a cluster, as far as logs are concerned. */
export interface LogGateways {
  readonly selfId: string;
  ownerOf(uid: string): string;
  /** Returns what ends the listening. */
  onOwnersChanged(listener: () => void): () => void;
  request(id: string, name: string, params: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
  stream(id: string, name: string, params: unknown, onItem: (item: unknown) => void, options?: { signal?: AbortSignal }): Promise<void>;
  handle(name: string, handler: (params: unknown) => unknown): void;
  handleStream(
    name: string,
    handler: (params: unknown, context: { signal: AbortSignal }, send: (item: unknown) => boolean) => Promise<void>,
  ): void;
}

export interface OwnedLogsOptions {
  gateways: LogGateways;
  /** What was printed while this gateway owned the function. */
  own: FunctionLogs;
  /** What earlier owners have handed over. */
  inherited: FunctionLogs;
  clock: Clock;
  tasks: TaskGroup;
}

/** So much of a function's log goes to its next owner. */
const HANDED_OVER: LogQuery = { tail: 2000 };
const HANDED_OVER_CHARACTERS = 1_048_576;
const ANSWER_MS = 5000;
/** Lines of calls that end at an earlier owner, on their way to the one that keeps the log now. */
const LATE_FLUSH_MS = 50;
const MAX_LATE_ENTRIES = 10_000;
/** A new owner that cannot be reached yet is tried again so much later. */
const RETRY_MS = 1000;

interface Question {
  uid: string;
  query: LogQuery;
}

/** What functions print, wherever it is asked for: each log is with the gateway that owns the function, and moves when that changes by plan. */
export class OwnedLogs implements FunctionLogs {
  readonly #options: OwnedLogsOptions;
  readonly #followings = new Set<RoutedFollowing>();
  #late = new Map<string, LogEntry[]>();
  #lateEntries = 0;
  #timer: Timer | undefined;
  #handingOver: Promise<void> = Promise.resolve();
  #retry: Timer | undefined;
  #stopped = false;

  constructor(options: OwnedLogsOptions) {
    this.#options = options;
    const { gateways, own, inherited, tasks } = options;
    gateways.handle("logs.query", (params) => this.#readAsOwner(params as Question));
    gateways.handleStream("logs.follow", (params, { signal }, send) => this.#serveFollower(params as Question, signal, send));
    gateways.handle("logs.take", (params) => appendAll(inherited, params as [string, LogEntry[]][]));
    gateways.handle("logs.append", (params) => appendAll(own, params as [string, LogEntry[]][]));
    gateways.onOwnersChanged(() => {
      for (const following of this.#followings) following.ownersChanged();
      tasks.run("hand logs over", () => this.handOver());
    });
  }

  append(uid: string, entry: LogEntry): void {
    if (this.#owns(uid)) this.#options.own.append(uid, entry);
    else this.#appendLate(uid, entry);
  }

  appendLines(uid: string, source: LogSource, body: Buffer, timeMs: number, truncated: boolean): void {
    for (const entry of buildEntries(source, body, timeMs, truncated, this.#options.clock.nowMs())) this.append(uid, entry);
  }

  lineSink(uid: string, source: LogSource): LineSink {
    return createLineSink(source, this.#options.clock, (entry) => this.append(uid, entry));
  }

  async query(uid: string, query: LogQuery): Promise<LogEntry[]> {
    if (this.#owns(uid)) return this.#read(uid, query);
    const { gateways } = this.#options;
    const signal = AbortSignal.timeout(ANSWER_MS);
    return (await gateways.request(gateways.ownerOf(uid), "logs.query", { uid, query }, { signal })) as LogEntry[];
  }

  follow(uid: string, query: LogQuery, follower: LogFollower): { stop(): void } {
    const { gateways, clock } = this.#options;
    const following = new RoutedFollowing({
      query,
      clock,
      follower,
      ownerOf: () => gateways.ownerOf(uid),
      followAt: (owner, wanted, onEntry, signal) =>
        owner === gateways.selfId
          ? this.#followHere(uid, wanted, onEntry, signal)
          : gateways.stream(owner, "logs.follow", { uid, query: wanted }, (item) => onEntry(item as LogEntry), { signal }),
      onStopped: () => this.#followings.delete(following),
    });
    this.#followings.add(following);
    following.start();
    return following;
  }

  async remove(uid: string): Promise<void> {
    await Promise.all([this.#options.own.remove(uid), this.#options.inherited.remove(uid)]);
  }

  async clear(uid: string): Promise<void> {
    await Promise.all([this.#options.own.clear(uid), this.#options.inherited.clear(uid)]);
  }

  async prune(uids: ReadonlySet<string>): Promise<void> {
    await Promise.all([this.#options.own.prune(uids), this.#options.inherited.prune(uids)]);
  }

  async uids(): Promise<string[]> {
    return [...new Set([...(await this.#options.own.uids()), ...(await this.#options.inherited.uids())])];
  }

  /** Gives the logs of functions that others own now to them; what cannot be given is tried again. */
  handOver(): Promise<void> {
    this.#handingOver = this.#handingOver.then(() => this.#handOverAll());
    return this.#handingOver;
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    this.#stopped = true;
    this.#retry?.cancel();
    for (const following of this.#followings) following.end();
    await this.handOver();
    await Promise.all([this.#options.own.stop(), this.#options.inherited.stop()]);
  }

  #owns(uid: string): boolean {
    const { gateways } = this.#options;
    return gateways.ownerOf(uid) === gateways.selfId;
  }

  async #read(uid: string, query: LogQuery): Promise<LogEntry[]> {
    const { own, inherited } = this.#options;
    const [before, here] = await Promise.all([inherited.query(uid, query), own.query(uid, query)]);
    return mergeByTime(before, here).slice(-(query.tail ?? DEFAULT_TAIL));
  }

  #readAsOwner({ uid, query }: Question): Promise<LogEntry[]> {
    if (!this.#owns(uid)) throw sayMoved();
    return this.#read(uid, query);
  }

  /** The old entries, then what comes; resolves when the function is gone, rejects when the log has moved. */
  async #followHere(uid: string, query: LogQuery, onEntry: (entry: LogEntry) => void, signal: AbortSignal): Promise<void> {
    const { own, inherited } = this.#options;
    for (const entry of await inherited.query(uid, query)) onEntry(entry);
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const following = own.follow(uid, query, { onEntry, onEnd: resolve });
      signal.addEventListener("abort", () => {
        following.stop();
        resolve();
      });
    });
    if (!this.#owns(uid)) throw sayMoved();
  }

  async #serveFollower({ uid, query }: Question, signal: AbortSignal, send: (item: unknown) => boolean): Promise<void> {
    const moved = new AbortController();
    const leave = this.#options.gateways.onOwnersChanged(() => {
      if (!this.#owns(uid)) moved.abort();
    });
    try {
      await this.#followHere(uid, query, (entry) => send(entry), AbortSignal.any([signal, moved.signal]));
    } finally {
      leave();
    }
    if (!this.#owns(uid)) throw sayMoved();
  }

  async #handOverAll(): Promise<void> {
    let isDone = true;
    for (const uid of await this.uids()) {
      if (!this.#owns(uid)) await this.#handOverOne(uid).catch(() => (isDone = false));
    }
    await this.#flushLate();
    if (isDone || this.#stopped) return;
    this.#retry ??= this.#options.clock.setTimer(RETRY_MS, () => {
      this.#retry = undefined;
      this.#options.tasks.run("hand logs over", () => this.handOver());
    });
  }

  async #handOverOne(uid: string): Promise<void> {
    const { gateways } = this.#options;
    const entries = keepNewest(await this.#read(uid, HANDED_OVER));
    if (entries.length > 0)
      await gateways.request(gateways.ownerOf(uid), "logs.take", [[uid, entries]], { signal: AbortSignal.timeout(ANSWER_MS) });
    await this.clear(uid);
  }

  #appendLate(uid: string, entry: LogEntry): void {
    if (this.#lateEntries >= MAX_LATE_ENTRIES) return;
    this.#lateEntries++;
    const entries = this.#late.get(uid);
    if (entries === undefined) this.#late.set(uid, [entry]);
    else entries.push(entry);
    this.#timer ??= this.#options.clock.setTimer(LATE_FLUSH_MS, () => {
      this.#timer = undefined;
      this.#options.tasks.run("send late log lines", () => this.#flushLate());
    });
  }

  async #flushLate(): Promise<void> {
    const late = this.#late;
    this.#late = new Map();
    this.#lateEntries = 0;
    const { gateways, own } = this.#options;
    for (const [uid, entries] of late) {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const sent = this.#owns(uid)
        ? Promise.reject(sayMoved())
        : gateways.request(gateways.ownerOf(uid), "logs.append", [[uid, entries]], { signal });
      // Kept here where it can be sent nowhere: it goes over with the next change.
      await sent.catch(() => appendAll(own, [[uid, entries]]));
    }
  }
}

function appendAll(logs: FunctionLogs, all: readonly [string, LogEntry[]][]): null {
  for (const [uid, entries] of all) for (const entry of entries) logs.append(uid, entry);
  return null;
}

/** Both are in order. */
function mergeByTime(before: readonly LogEntry[], here: readonly LogEntry[]): LogEntry[] {
  if (before.length === 0 || here.length === 0) return [...before, ...here];
  return [...before, ...here].sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

function keepNewest(entries: readonly LogEntry[]): LogEntry[] {
  let characters = 0;
  let from = entries.length;
  while (from > 0 && characters + entries[from - 1]!.message.length <= HANDED_OVER_CHARACTERS)
    characters += entries[--from]!.message.length;
  return entries.slice(from);
}

function sayMoved(): KsError {
  return new KsError("NO_CAPACITY", { message: "The function's log has moved to another gateway", retryAfterMs: 1000 });
}
