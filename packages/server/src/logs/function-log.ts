import type { LogEntry } from "@kube-serverless/contracts";
import { Following, type LogFollower } from "./following.ts";
import { DEFAULT_TAIL, isBefore, type LogQuery, matchesQuery } from "./query.ts";
import { readBackwards, type Segments, type SegmentView } from "./segments.ts";

/** Written at once; JSON may need six bytes for one character of it. */
const BATCH_CHARACTERS = 262_144;
const BATCHES_A_FLUSH = 4;
/** An entry passes at most so many that came before it with a later time. */
const REORDER_ENTRIES = 64;
/** What an entry takes beside its message. */
const ENTRY_OVERHEAD = 200;

/** Characters that wait to be written, of all functions together. */
export interface PendingBudget {
  usedCharacters: number;
  readonly maxCharacters: number;
}

export interface FunctionLogOptions {
  nowMs: () => number;
  maxPendingCharacters: number;
  budget: PendingBudget;
}

interface Snapshot {
  disk: SegmentView[];
  /** Oldest first; newer than all on disk. */
  memory: LogEntry[];
}

/**
 * One function's log: entries wait in memory, within a bound, until a batch of them is written. What finds no room, or
 * no disk, is counted, and an entry `dropped: n` stands in its place.
 */
export class FunctionLog {
  readonly #segments: Segments;
  readonly #options: FunctionLogOptions;
  #opened: Promise<void> | undefined;
  #pending: LogEntry[] = [];
  #pendingCharacters = 0;
  #writing: readonly LogEntry[] = [];
  /** Not written because the disk failed: older than all that waits. */
  #lost = 0;
  /** Not taken because too much waits: newer than all that waits. */
  #refused = 0;
  readonly #followings = new Set<Following>();
  #ended = false;

  constructor(segments: Segments, options: FunctionLogOptions) {
    this.#segments = segments;
    this.#options = options;
  }

  get pendingCharacters(): number {
    return this.#pendingCharacters;
  }

  append(entry: LogEntry): void {
    const characters = entry.message.length + ENTRY_OVERHEAD;
    const { budget, maxPendingCharacters } = this.#options;
    if (this.#pendingCharacters + characters > maxPendingCharacters || budget.usedCharacters + characters > budget.maxCharacters) {
      this.#refused++;
      return;
    }
    this.#markRefused();
    this.#push(entry, characters);
  }

  /**
   * Writes what waits, or so much of it that other functions get their turn. One call at a time.
   * @throws what the file system throws; the entries of that batch are lost and counted.
   */
  async flush(): Promise<void> {
    await this.#open();
    for (let turn = 0; turn < BATCHES_A_FLUSH; turn++) {
      const batch = this.#takeBatch();
      if (batch.length === 0) return;
      this.#writing = batch;
      try {
        await this.#segments.append(encodeBatch(batch), () => {
          this.#writing = [];
        });
      } catch (error) {
        this.#writing = [];
        for (const entry of batch) this.#lost += entry.dropped ?? 1;
        throw error;
      }
    }
  }

  async query(query: LogQuery): Promise<LogEntry[]> {
    await this.#open();
    return select(this.#snapshot(), query);
  }

  /** The entries that `query` asks for, then what comes, with nothing lost or repeated in between. */
  follow(query: LogQuery, follower: LogFollower): { stop(): void } {
    const following = new Following(query, follower);
    this.#begin(following, query).catch(() => {
      following.begin([]);
      following.end();
    });
    return {
      stop: () => {
        following.stop();
        this.#followings.delete(following);
      },
    };
  }

  /** Ends those that follow. */
  end(): void {
    this.#ended = true;
    for (const following of this.#followings) following.end();
    this.#followings.clear();
  }

  /** Forgets what waits and deletes the files; no flush may run. */
  async remove(): Promise<void> {
    this.end();
    this.#options.budget.usedCharacters -= this.#pendingCharacters;
    this.#pendingCharacters = 0;
    this.#pending = [];
    await this.#open().catch(() => {});
    await this.#segments.remove();
  }

  async #begin(following: Following, query: LogQuery): Promise<void> {
    await this.#open();
    // The snapshot ends in the moment in which the following begins.
    const snapshot = this.#snapshot();
    if (this.#ended) following.end();
    else this.#followings.add(following);
    following.begin(await select(snapshot, query));
  }

  #open(): Promise<void> {
    this.#opened ??= this.#segments.open().catch((error: unknown) => {
      this.#opened = undefined;
      throw error;
    });
    return this.#opened;
  }

  #push(entry: LogEntry, characters: number): void {
    this.#pending.splice(this.#placeOf(entry), 0, entry);
    this.#pendingCharacters += characters;
    this.#options.budget.usedCharacters += characters;
    for (const following of this.#followings) following.push(entry);
  }

  /**
   * By time among the last ones that wait: what a shim sent and what its process wrote to its descriptors come on two ways,
   * and may pass each other.
   */
  #placeOf({ time }: LogEntry): number {
    let at = this.#pending.length;
    const first = Math.max(0, at - REORDER_ENTRIES);
    while (at > first && this.#pending[at - 1]!.time > time) at--;
    return at;
  }

  #markRefused(): void {
    if (this.#refused === 0) return;
    const marker = this.#buildMarker(this.#refused);
    this.#refused = 0;
    this.#push(marker, marker.message.length + ENTRY_OVERHEAD);
  }

  #takeBatch(): LogEntry[] {
    const batch: LogEntry[] = [];
    if (this.#lost > 0) batch.push(this.#buildMarker(this.#lost));
    this.#lost = 0;
    let characters = 0;
    let count = 0;
    while (count < this.#pending.length && characters < BATCH_CHARACTERS) {
      characters += this.#pending[count++]!.message.length + ENTRY_OVERHEAD;
    }
    batch.push(...this.#pending.splice(0, count));
    this.#pendingCharacters -= characters;
    this.#options.budget.usedCharacters -= characters;
    if (this.#pending.length === 0) this.#markRefused();
    return batch;
  }

  #snapshot(): Snapshot {
    return { disk: this.#segments.view(), memory: [...this.#writing, ...this.#pending] };
  }

  #buildMarker(dropped: number): LogEntry {
    return {
      time: new Date(this.#options.nowMs()).toISOString(),
      stream: "system",
      requestId: null,
      replica: "",
      revision: 0,
      message: `${dropped} ${dropped === 1 ? "line was" : "lines were"} dropped`,
      dropped,
    };
  }
}

async function select(snapshot: Snapshot, query: LogQuery): Promise<LogEntry[]> {
  const tail = query.tail ?? DEFAULT_TAIL;
  // Newest first, until there are enough.
  const found: LogEntry[] = [];
  for (const entry of snapshot.memory.toReversed()) {
    if (found.length >= tail) return found.reverse();
    if (matchesQuery(entry, query)) found.push(entry);
  }
  for await (const lines of readBackwards(snapshot.disk)) {
    for (const line of lines) {
      if (found.length >= tail) return found.reverse();
      // Most lines of a search for one request need not be parsed.
      if (query.requestId !== undefined && !line.includes(query.requestId)) continue;
      const entry = parseEntry(line);
      if (entry === undefined) continue;
      if (isBefore(entry, query)) return found.reverse();
      if (matchesQuery(entry, query)) found.push(entry);
    }
  }
  return found.reverse();
}

function encodeBatch(batch: readonly LogEntry[]): Buffer {
  let text = "";
  for (const entry of batch) text += `${JSON.stringify(entry)}\n`;
  return Buffer.from(text);
}

/** Undefined for what a kill left of a line. */
function parseEntry(line: string): LogEntry | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    return typeof entry === "object" && entry !== null && "time" in entry && "message" in entry ? (entry as LogEntry) : undefined;
  } catch {
    return undefined;
  }
}
