import type { FunctionMetrics } from "@kube-serverless/contracts";
import type { MetricsStore } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import { addCounters, raiseCounters, subtractCounters } from "./counter-arithmetic.ts";
import { emptyMetrics, FunctionCounters, type LiveFigures, type Prices } from "./function-counters.ts";
import { decodeRow, encodeRow } from "./row.ts";

/** The gateways of a cluster, as far as counters are concerned. */
export interface CounterGateways {
  readonly selfId: string;
  ownerOf(uid: string): string;
  /** Who will own the function when this gateway is gone; undefined when nobody else is ready. */
  successorOf(uid: string): string | undefined;
  onOwnersChanged(listener: () => void): () => void;
  request(id: string, name: string, params: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
  handle(name: string, handler: (params: unknown) => unknown): void;
}

export interface SharedCountersOptions {
  gateways: CounterGateways;
  tasks: TaskGroup;
  prices: Prices;
  /** What this gateway itself has counted since it started; only grows. */
  ownOf(uid: string): FunctionCounters | undefined;
  /** What was written of a function last, by whichever gateway. */
  writtenOf(uid: string): string | undefined;
  /** Has it written, by and by. */
  write(uid: string, row: string): void;
}

const ANSWER_MS = 2000;
/** While views differ, a sum may be sent to who is no longer the owner. */
const MAX_HOPS = 3;

type Rows = [uid: string, row: string][];

/**
 * Counters of a whole cluster. The owner of a function has their sum: what others counted before it, and what it counts itself. What
 * is counted elsewhere, by calls that end at an earlier owner, is sent to it; the sum goes to the next owner when that changes by
 * plan, and every second to whoever would be the next one if this gateway were lost.
 */
export class SharedCounters implements MetricsStore {
  readonly #options: SharedCountersOptions;
  /** Of functions that this gateway owns: what others have counted. */
  readonly #before = new Map<string, FunctionCounters>();
  /** What of this gateway's own counts is in another one's sum already. */
  readonly #given = new Map<string, FunctionCounters>();
  /** Sums that owners left here, should they be lost. */
  readonly #kept = new Map<string, FunctionCounters>();
  #moving: Promise<void> = Promise.resolve();

  constructor(options: SharedCountersOptions) {
    this.#options = options;
    const { gateways, tasks } = options;
    gateways.handle("counters.keep", (params) => this.#keep(params as Rows));
    gateways.handle("counters.take", (params) => this.#take(params as { rows: Rows; hops: number }));
    gateways.handle("counters.add", (params) => this.#add(params as Rows));
    gateways.onOwnersChanged(() => tasks.run("hand counters over", () => this.handOver()));
  }

  /** Nothing: what this process counts begins anew, what was counted before is added where it is shown. */
  async loadMetrics(): Promise<Map<string, Uint8Array>> {
    return new Map();
  }

  /** Functions whose own counts have changed. @throws KsError where an owner cannot be reached: nothing is lost then */
  async saveMetrics(changed: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const keep = new Map<string, Rows>();
    const add = new Map<string, Rows>();
    for (const uid of changed.keys()) {
      if (this.#owns(uid)) this.#save(uid, keep);
      else this.#note(add, this.#options.gateways.ownerOf(uid), uid, this.#ungiven(uid));
    }
    await Promise.all([...keep].map(([id, rows]) => this.#send(id, "counters.keep", rows).catch(() => undefined)));
    for (const [id, rows] of add) {
      await this.#send(id, "counters.add", rows);
      for (const [uid, row] of rows) addCounters(this.#of(this.#given, uid), decode(row));
    }
  }

  /** The cluster's counters of a function that this gateway owns, as another gateway reads them with `readCounters`. */
  encoded(uid: string): string | undefined {
    const sum = this.#sum(uid);
    return sum.invocations === 0 && sum.lastInvocationMs === 0 ? undefined : encode(sum);
  }

  /** The cluster's counters of a function that this gateway owns. */
  snapshot(uid: string, live: LiveFigures): FunctionMetrics {
    const sum = this.#sum(uid);
    return sum.invocations === 0 && sum.lastInvocationMs === 0 ? emptyMetrics(live) : sum.snapshot(live, this.#options.prices);
  }

  remove(uid: string): void {
    for (const counters of [this.#before, this.#given, this.#kept]) counters.delete(uid);
  }

  /** Gives the sums of functions that others own now to them; resolves when that is done, as far as they could be reached. */
  handOver(): Promise<void> {
    this.#moving = this.#moving.then(async () => {
      const moved = new Map<string, Rows>();
      for (const uid of this.#kept.keys()) if (this.#owns(uid)) this.#beforeOf(uid);
      for (const uid of this.#before.keys()) {
        if (this.#owns(uid)) continue;
        this.#note(moved, this.#options.gateways.ownerOf(uid), uid, this.#sum(uid));
        this.#give(uid);
      }
      await Promise.all([...moved].map(([id, rows]) => this.#send(id, "counters.take", { rows, hops: 0 }).catch(() => undefined)));
    });
    return this.#moving;
  }

  #owns(uid: string): boolean {
    const { gateways } = this.#options;
    return gateways.ownerOf(uid) === gateways.selfId;
  }

  #save(uid: string, keep: Map<string, Rows>): void {
    const sum = this.#sum(uid);
    this.#options.write(uid, encode(sum));
    const successor = this.#options.gateways.successorOf(uid);
    if (successor !== undefined) this.#note(keep, successor, uid, sum);
  }

  /** Its sum is another one's from now on. */
  #give(uid: string): void {
    this.#before.delete(uid);
    const own = this.#options.ownOf(uid);
    if (own !== undefined) raiseCounters(this.#of(this.#given, uid), own);
  }

  #sum(uid: string): FunctionCounters {
    const sum = this.#ungiven(uid);
    addCounters(sum, this.#beforeOf(uid));
    return sum;
  }

  #ungiven(uid: string): FunctionCounters {
    const counters = new FunctionCounters();
    const own = this.#options.ownOf(uid);
    if (own !== undefined) addCounters(counters, own);
    const given = this.#given.get(uid);
    if (given !== undefined) subtractCounters(counters, given);
    return counters;
  }

  #beforeOf(uid: string): FunctionCounters {
    let before = this.#before.get(uid);
    if (before !== undefined) return before;
    before = new FunctionCounters();
    const written = this.#options.writtenOf(uid);
    if (written !== undefined) raiseCounters(before, decode(written));
    const kept = this.#kept.get(uid);
    if (kept !== undefined) raiseCounters(before, kept);
    this.#before.set(uid, before);
    return before;
  }

  #keep(rows: Rows): null {
    for (const [uid, row] of rows) {
      const counters = decode(row);
      raiseCounters(this.#of(this.#kept, uid), counters);
      if (this.#owns(uid)) raiseCounters(this.#beforeOf(uid), counters);
    }
    return null;
  }

  /** What an earlier owner hands over; owners may have changed again meanwhile. */
  #take({ rows, hops }: { rows: Rows; hops: number }): null {
    this.#keep(rows);
    for (const row of rows) {
      if (this.#owns(row[0]) || hops >= MAX_HOPS) continue;
      const owner = this.#options.gateways.ownerOf(row[0]);
      this.#options.tasks.run("pass counters on", () => this.#send(owner, "counters.take", { rows: [row], hops: hops + 1 }));
    }
    return null;
  }

  #add(rows: Rows): null {
    for (const [uid, row] of rows) addCounters(this.#beforeOf(uid), decode(row));
    return null;
  }

  #of(all: Map<string, FunctionCounters>, uid: string): FunctionCounters {
    let counters = all.get(uid);
    if (counters === undefined) all.set(uid, (counters = new FunctionCounters()));
    return counters;
  }

  #note(rows: Map<string, Rows>, id: string, uid: string, counters: FunctionCounters): void {
    const row: Rows[number] = [uid, encode(counters)];
    const known = rows.get(id);
    if (known === undefined) rows.set(id, [row]);
    else known.push(row);
  }

  #send(id: string, name: string, params: unknown): Promise<unknown> {
    return this.#options.gateways.request(id, name, params, { signal: AbortSignal.timeout(ANSWER_MS) });
  }
}

function encode(counters: FunctionCounters): string {
  return Buffer.from(encodeRow(counters)).toString();
}

/** What `encoded` gave. */
export function readCounters(row: string | undefined): FunctionCounters | undefined {
  return row === undefined ? undefined : decode(row);
}

/** Of a row that cannot be read, nothing. */
function decode(row: string): FunctionCounters {
  const counters = new FunctionCounters();
  decodeRow(Buffer.from(row), counters);
  return counters;
}
