import type { Clock, Timer } from "../clock.ts";
import type { ApiClient } from "./api-client.ts";
import { hasStatus } from "./api-error.ts";
import { buildPath, type KubernetesObject, type Persisted, type Resource } from "./resource.ts";
import { readWatchEvents } from "./watch-events.ts";

/** The server ends a watch after so long; the next goes on where it ended. */
const WATCH_SECONDS = 30;
/** Without a byte for so much longer than that, the watch is taken for dead: a stalled one says nothing, not even its end. */
const STALL_GRACE_MS = 5000;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 2000;
const PAGE_SIZE = 500;

/** The part of a logger that a reflector needs. */
export interface ReflectorLog {
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface ReflectorOptions<T extends KubernetesObject, K extends KubernetesObject> {
  client: ApiClient;
  resource: Resource;
  clock: Clock;
  log: ReflectorLog;
  labelSelector?: string;
  fieldSelector?: string;
  /** What is kept of an object: drop here what is large. Called once for each that comes; `before` is what was kept of it. */
  transform(object: Persisted<T>, before: K | undefined): K;
  /** New or changed; `before` is what was kept of it. */
  onChange?(object: K, before: K | undefined): void;
  onGone?(object: K): void;
  /** A list is complete, at first and after each gap; all of its changes were told before. */
  onListed?(): void;
  /** @default 30 */
  watchSeconds?: number;
}

/**
 * A copy of one kind of objects, kept in step by list and watch. What happened in a gap is found by the next list, as changes
 * from what was known. A silent watch is given up at its deadline.
 */
export class Reflector<T extends KubernetesObject, K extends KubernetesObject = Persisted<T>> {
  readonly #options: ReflectorOptions<T, K>;
  readonly #objects = new Map<string, K>();
  /** Uids that a write of our own has ended, until the watch says so, too: what it says of them before is old. */
  readonly #ended = new Set<string>();
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #listed: Promise<void>;
  #resolveListed: () => void = () => undefined;
  #resourceVersion: string | undefined;
  #failingSinceMs: number | undefined;

  constructor(options: ReflectorOptions<T, K>) {
    this.#options = options;
    this.#listed = new Promise((resolve) => {
      this.#resolveListed = resolve;
    });
  }

  /** Resolves with the first complete list, however long the API server is away. */
  start(): Promise<void> {
    this.#running ??= this.#run();
    return this.#listed;
  }

  get(name: string): K | undefined {
    return this.#objects.get(name);
  }

  values(): IterableIterator<K> {
    return this.#objects.values();
  }

  get size(): number {
    return this.#objects.size;
  }

  /** How long the API server has not answered; 0 while it does. */
  failingForMs(): number {
    return this.#failingSinceMs === undefined ? 0 : this.#options.clock.monotonicMs() - this.#failingSinceMs;
  }

  /** Takes in what a write answered, so that one reads what one wrote; older than what is known: nothing. */
  observe(object: Persisted<T>): void {
    const { name, resourceVersion } = object.metadata;
    // The watch is past it already: what is unknown all the same was deleted since.
    if (!this.#objects.has(name) && !isNewer(resourceVersion, this.#resourceVersion)) return;
    this.#put(object);
  }

  /** Takes in that a write of our own has deleted an object. */
  observeGone(name: string, uid: string): void {
    const known = this.#objects.get(name);
    if (known?.metadata.uid !== uid) return;
    this.#ended.add(uid);
    this.#objects.delete(name);
    this.#tell(() => this.#options.onGone?.(known));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    let retryMs = RETRY_FIRST_MS;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#list();
        await this.#watch();
        retryMs = RETRY_FIRST_MS;
        continue;
      } catch (error) {
        if (signal.aborted) return;
        // Too old: what is between is lost, so all is listed anew.
        if (hasStatus(error, 410)) this.#resourceVersion = undefined;
        else this.#noteFailure(error);
      }
      await this.#pause(retryMs * (0.5 + Math.random()));
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }

  async #list(): Promise<void> {
    const { client, resource, onGone, onListed } = this.#options;
    const seen = new Set<string>();
    let resourceVersion = "";
    let next: string | undefined;
    do {
      const query = { ...this.#selectors(), limit: PAGE_SIZE, continue: next };
      const page = await client.listPage<T>(resource, query, this.#stopping.signal);
      for (const item of page.items) {
        seen.add(item.metadata.name);
        this.#put(item);
      }
      resourceVersion = page.metadata.resourceVersion;
      next = page.metadata.continue === "" ? undefined : page.metadata.continue;
    } while (next !== undefined);
    for (const [name, object] of this.#objects) {
      // What was written while the list was under way may be newer than it.
      if (seen.has(name) || isNewer(object.metadata.resourceVersion ?? "", resourceVersion)) continue;
      this.#objects.delete(name);
      this.#tell(() => onGone?.(object));
    }
    this.#ended.clear();
    this.#resourceVersion = resourceVersion;
    this.#failingSinceMs = undefined;
    this.#resolveListed();
    this.#tell(() => onListed?.());
  }

  async #watch(): Promise<void> {
    const { client, resource, watchSeconds = WATCH_SECONDS } = this.#options;
    const stalled = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, stalled.signal]);
    const rearm = this.#stallTimer(watchSeconds * 1000 + STALL_GRACE_MS, stalled);
    try {
      const query = {
        ...this.#selectors(),
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: this.#resourceVersion,
        timeoutSeconds: watchSeconds,
      };
      const stream = await client.stream(buildPath(resource), query, signal);
      this.#failingSinceMs = undefined;
      let isEmpty = true;
      for await (const event of readWatchEvents<T>(stream)) {
        rearm();
        isEmpty = false;
        if (event.type === "DELETED") this.#remove(event.object);
        else if (event.type !== "BOOKMARK") this.#put(event.object);
        this.#resourceVersion = event.object.metadata.resourceVersion;
      }
      // Even a quiet one says a bookmark before its end; without this a server that ends each at once would be asked in a loop.
      if (isEmpty) await this.#pause(RETRY_FIRST_MS);
    } finally {
      rearm(false);
    }
  }

  #stallTimer(delayMs: number, stalled: AbortController): (again?: boolean) => void {
    let timer: Timer | undefined;
    const rearm = (again = true): void => {
      timer?.cancel();
      if (again) timer = this.#options.clock.setTimer(delayMs, () => stalled.abort(new Error("the watch fell silent")));
    };
    rearm();
    return rearm;
  }

  #put(object: Persisted<T>): void {
    const { name, uid, resourceVersion } = object.metadata;
    if (this.#ended.has(uid)) return;
    const before = this.#objects.get(name);
    if (before?.metadata.uid === uid && !isNewer(resourceVersion, before.metadata.resourceVersion)) return;
    // Deleted and made anew between two lists: two changes.
    const isOther = before !== undefined && before.metadata.uid !== uid;
    if (isOther) this.#tell(() => this.#options.onGone?.(before));
    const kept = this.#options.transform(object, isOther ? undefined : before);
    this.#objects.set(name, kept);
    this.#tell(() => this.#options.onChange?.(kept, isOther ? undefined : before));
  }

  #remove({ metadata }: Persisted<T>): void {
    this.#ended.delete(metadata.uid);
    const known = this.#objects.get(metadata.name);
    if (known === undefined || known.metadata.uid !== metadata.uid) return;
    this.#objects.delete(metadata.name);
    this.#tell(() => this.#options.onGone?.(known));
  }

  /** A listener that throws is a defect of its own, and no reason to lose the watch. */
  #tell(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#options.log.error({ err: error, resource: this.#options.resource.plural }, "a change could not be taken up");
    }
  }

  #selectors(): { labelSelector?: string; fieldSelector?: string } {
    const { labelSelector, fieldSelector } = this.#options;
    return { ...(labelSelector === undefined ? {} : { labelSelector }), ...(fieldSelector === undefined ? {} : { fieldSelector }) };
  }

  /** Said once an outage. */
  #noteFailure(error: unknown): void {
    if (this.#failingSinceMs !== undefined) return;
    this.#failingSinceMs = this.#options.clock.monotonicMs();
    this.#options.log.warn({ err: error, resource: this.#options.resource.plural }, "the API server does not answer; it is tried again");
  }

  #pause(delayMs: number): Promise<void> {
    const { signal } = this.#stopping;
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.#options.clock.setTimer(delayMs, end);
      signal.addEventListener("abort", end);
    });
  }
}

/** Versions are numbers of etcd's; anything else counts as newer, as the API asks not to compare it. */
function isNewer(version: string, than: string | undefined): boolean {
  if (than === undefined || !/^\d+$/.test(version) || !/^\d+$/.test(than)) return version !== than;
  return version.length === than.length ? version > than : version.length > than.length;
}
