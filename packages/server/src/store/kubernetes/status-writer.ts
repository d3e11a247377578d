import type { Clock, Timer } from "../../clock.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import type { KubernetesObject } from "../../kubernetes/resource.ts";
import type { TaskGroup } from "../../task-group.ts";
import type { LiveStatus } from "../declared.ts";
import type { StoredFunction } from "../port.ts";
import type { Catalogue } from "./catalogue.ts";
import { type FunctionObject, type FunctionObjectStatus, OWNER_MANAGER, type Resources } from "./objects.ts";
import { buildObjectStatus } from "./status.ts";
import { asking } from "./unavailable.ts";

/** Every write of a status rewrites the whole object in etcd, so what only counts waits so long. */
const COUNTERS_EVERY_MS = 30_000;
/** Replicas come and go in bursts: only what lasts so long is written. */
const REPLICAS_AFTER_MS = 1000;

interface Entry {
  stored: StoredFunction;
  live: LiveStatus;
  written: LiveStatus;
  writtenAtMs: number;
  timer: Timer | undefined;
  /** The write under way. */
  writing: Promise<void>;
}

export interface StatusWriterOptions {
  client: ApiClient;
  resources: Resources;
  catalogue: Catalogue;
  clock: Clock;
  tasks: TaskGroup;
  /** Shapes of the HTTP triggers' paths that lead to it. */
  admittedPaths(stored: StoredFunction): readonly string[];
  endpoint(name: string): string;
}

/** Writes the status of functions that this gateway owns, by server-side apply: one whole status at a time, one write after the other. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Resolves when it is written. @throws KsError `STORE_UNAVAILABLE` */
  async put(stored: StoredFunction): Promise<void> {
    const entry = this.#entryOf(stored);
    entry.stored = stored;
    await this.#write(entry);
  }

  /** What changes of a function that this gateway owns. */
  noteLive(uid: string, changes: Partial<LiveStatus>): void {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return;
    const live = { ...entry.live, ...changes };
    entry.live = live;
    const { written } = entry;
    const hasMoved =
      live.replicas !== written.replicas || live.readyReplicas !== written.readyReplicas || live.nameTaken !== written.nameTaken;
    if (hasMoved) this.#arm(entry, REPLICAS_AFTER_MS);
    else if (live.counters !== written.counters) this.#arm(entry, COUNTERS_EVERY_MS);
  }

  /** Takes a function up as it was found. */
  adopt(stored: StoredFunction): void {
    this.#entryOf(stored).stored = stored;
  }

  /** Another owns it now, or it is gone. */
  release(uid: string): void {
    this.#entries.get(uid)?.timer?.cancel();
    this.#entries.delete(uid);
  }

  /** Writes what still waits. */
  async stop(): Promise<void> {
    const waiting = [...this.#entries.values()].filter(({ timer }) => timer !== undefined);
    await Promise.allSettled(waiting.map((entry) => this.#write(entry)));
    for (const uid of this.#entries.keys()) this.release(uid);
  }

  #entryOf(stored: StoredFunction): Entry {
    let entry = this.#entries.get(stored.uid);
    if (entry === undefined) {
      const { replicas = 0, readyReplicas = 0, lastInvocation, counters } = this.#options.catalogue.byUid(stored.uid)?.status ?? {};
      const live: LiveStatus = { replicas, readyReplicas, lastInvocation, counters, nameTaken: undefined };
      entry = { stored, live, written: live, writtenAtMs: Number.NEGATIVE_INFINITY, timer: undefined, writing: Promise.resolve() };
      this.#entries.set(stored.uid, entry);
    }
    return entry;
  }

  #arm(entry: Entry, delayMs: number): void {
    if (entry.timer !== undefined && delayMs === COUNTERS_EVERY_MS) return;
    entry.timer?.cancel();
    const sinceMs = this.#options.clock.monotonicMs() - entry.writtenAtMs;
    entry.timer = this.#options.clock.setTimer(Math.max(REPLICAS_AFTER_MS, delayMs - sinceMs), () => {
      entry.timer = undefined;
      this.#options.tasks.run("write function status", () => this.#write(entry));
    });
  }

  async #write(entry: Entry): Promise<void> {
    entry.timer?.cancel();
    entry.timer = undefined;
    const turn = entry.writing.then(() => this.#apply(entry));
    entry.writing = turn.catch(() => undefined);
    await turn;
  }

  async #apply(entry: Entry): Promise<void> {
    const { client, resources, catalogue, clock, admittedPaths, endpoint } = this.#options;
    const { stored, live } = entry;
    const { uid, spec, revision } = stored;
    const { name } = spec;
    const status = buildObjectStatus({
      stored,
      live,
      hash: catalogue.hashOf(uid, revision),
      admittedPaths: admittedPaths(stored),
      endpoint: endpoint(name),
      before: catalogue.byUid(uid)?.status.conditions ?? [],
      nowMs: clock.nowMs(),
    });
    const object: KubernetesObject & { status: FunctionObjectStatus } = { metadata: { name, uid }, status };
    try {
      const answer = await asking(() =>
        client.apply<FunctionObject>(resources.functions, object as FunctionObject, OWNER_MANAGER, "status"),
      );
      catalogue.observe(answer);
    } catch (error) {
      if (await this.#isGone(stored, error)) return;
      this.#arm(entry, REPLICAS_AFTER_MS);
      throw error;
    }
    entry.written = live;
    entry.writtenAtMs = clock.monotonicMs();
  }

  /** Deleted, or deleted and made anew: there is nothing to write to. A write of others at the same time is told alike. */
  async #isGone({ uid, spec }: StoredFunction, error: unknown): Promise<boolean> {
    const { cause } = error as { cause?: unknown };
    if (hasStatus(cause, 404)) return true;
    if (!hasStatus(cause, 409)) return false;
    const { client, resources } = this.#options;
    const found = await asking(() => client.find<FunctionObject>(resources.functions, spec.name));
    return found?.metadata.uid !== uid;
  }
}
