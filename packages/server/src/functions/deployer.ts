import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { failpoint } from "../failpoint.ts";
import { RuntimeNotStarted } from "../instances/runtime-not-started.ts";
import type { CodeSource, Replica, ReplicaProvider, RevisionRef } from "../instances/port.ts";
import type { FunctionStore, StoredFunction } from "../store/port.ts";
import type { CodeCache } from "./code-cache.ts";
import type { FunctionEntry, FunctionRegistry } from "./registry.ts";

/** While the machine is full or too busy, or the store away, a build tries again after so long, twice as long each time. */
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 10_000;
/** Pods are lost by chance so often at most: code that cuts the connection while it loads looks the same. */
const MAX_POD_LOSSES = 5;
/** Revisions already warm beside the checked one before an update switches. */
const MAX_WARM_REPLICAS = 8;

export interface DeployerOptions {
  clock: Clock;
  store: Pick<FunctionStore, "putFunction" | "readCode">;
  registry: FunctionRegistry;
  codeCache: CodeCache;
  provider: ReplicaProvider;
  onTriggersChanged(): void;
  /** A deploy has come to its end. */
  onDeployed(stored: StoredFunction): void;
  onError(error: unknown, stored: StoredFunction): void;
}

/** One attempt to make the wanted revision serve. */
interface Build {
  cancelled: boolean;
  replicas: Replica[];
  retry: Timer | undefined;
  /** How often the same was tried before. */
  retries: number;
  /** There were replicas when it began. */
  replaces: boolean;
  /** The write of its end, while that is under way. */
  writing: Promise<unknown> | undefined;
}

/**
 * The way of a deploy from its commit to `running` or `failed`: the code is loaded once in the sandbox, then its revision
 * becomes current. The last spec wins: a newer one cancels the build of an older.
 */
export class Deployer {
  readonly #options: DeployerOptions;
  readonly #builds = new Map<string, Build>();
  #stopped = false;

  constructor(options: DeployerOptions) {
    this.#options = options;
  }

  /** After a restart: what served serves, what was being built is built anew. */
  resume(entry: FunctionEntry): void {
    const { stored } = entry;
    if (stored.served !== undefined && entry.existingDispatcher === undefined && stored.served.spec.minReplicas > 0) this.#serve(entry, []);
    if (stored.status.state === "deploying") this.build(entry);
  }

  /** Builds what the entry wants now. */
  build(entry: FunctionEntry): void {
    this.#begin(entry, 0);
  }

  #begin(entry: FunctionEntry, retries: number): void {
    this.cancel(entry);
    if (this.#stopped) return;
    const replaces = (entry.existingDispatcher?.replicas ?? 0) > 0;
    const build: Build = { cancelled: false, replicas: [], retry: undefined, retries, replaces, writing: undefined };
    this.#builds.set(entry.stored.uid, build);
    entry.existingDispatcher?.expect();
    this.#run(entry, build).catch((error: unknown) => this.#options.onError(error, entry.stored));
  }

  /** Resolves when no end of a build is being written: what changes the function then builds on that end. */
  async written(entry: FunctionEntry): Promise<void> {
    await this.#builds.get(entry.stored.uid)?.writing;
  }

  cancel(entry: FunctionEntry): void {
    const build = this.#builds.get(entry.stored.uid);
    if (build === undefined) return;
    this.#builds.delete(entry.stored.uid);
    build.cancelled = true;
    build.retry?.cancel();
    for (const replica of build.replicas) replica.kill();
  }

  /** The serving revision got other limits or triggers. */
  applyInPlace(entry: FunctionEntry): void {
    const { served } = entry.stored;
    if (served !== undefined && (entry.existingDispatcher !== undefined || served.spec.minReplicas > 0))
      entry.dispatcher().setBounds(served.spec);
  }

  /** What a dispatcher serves of a function that was loaded or deployed. */
  servedOf(stored: StoredFunction): { revision: RevisionRef; code: CodeSource } | undefined {
    const { served, uid } = stored;
    if (served === undefined) return undefined;
    return {
      revision: { uid, name: stored.spec.name, revision: served.revision, spec: served.spec },
      code: this.#codeSource(uid, served.revision),
    };
  }

  stop(): void {
    this.#stopped = true;
    for (const build of this.#builds.values()) {
      build.cancelled = true;
      build.retry?.cancel();
      for (const replica of build.replicas) replica.kill();
    }
    this.#builds.clear();
  }

  async #run(entry: FunctionEntry, build: Build): Promise<void> {
    const target = entry.stored;
    const revision: RevisionRef = { uid: target.uid, name: target.spec.name, revision: target.revision, spec: target.spec };
    let runtimeVersion: string;
    try {
      const checked = this.#start(build, revision, "check");
      runtimeVersion = (await checked.ready).runtimeVersion;
      await this.#warmUp(entry, build, revision);
    } catch (error) {
      if (!build.cancelled) await this.#failed(entry, build, error);
      return;
    }
    if (!build.cancelled) await this.#succeeded(entry, build, target, runtimeVersion);
  }

  #start(build: Build, revision: RevisionRef, purpose: "check" | "serve"): Replica {
    const replica = this.#options.provider.startReplica(revision, this.#codeSource(revision.uid, revision.revision), purpose);
    build.replicas.push(replica);
    return replica;
  }

  /** An update that takes over from several replicas starts as many, as far as the machine has room. */
  async #warmUp(entry: FunctionEntry, build: Build, revision: RevisionRef): Promise<void> {
    const running = entry.existingDispatcher?.replicas ?? 0;
    const wanted = Math.min(running, revision.spec.maxReplicas, MAX_WARM_REPLICAS) - 1;
    const started: Replica[] = [];
    try {
      while (started.length < wanted) started.push(this.#start(build, revision, "serve"));
    } catch (error) {
      if (!(error instanceof KsError) || error.code !== "NO_CAPACITY") throw error;
    }
    await Promise.allSettled(started.map((replica) => replica.ready));
  }

  async #succeeded(entry: FunctionEntry, build: Build, target: StoredFunction, runtimeVersion: string): Promise<void> {
    const { clock, registry } = this.#options;
    const stored: StoredFunction = {
      ...target,
      served: { revision: target.revision, generation: target.generation, spec: target.spec },
      status: {
        state: "running",
        observedGeneration: target.generation,
        revision: target.revision,
        runtimeVersion,
        lastDeployment: new Date(clock.nowMs()).toISOString(),
      },
    };
    const committed = await this.#commit(entry, build, stored);
    if (!committed) return;
    registry.syncRoutes(entry);
    this.#switch(entry, build, target.served !== undefined);
    this.#options.onTriggersChanged();
    this.#options.onDeployed(stored);
  }

  /** On create the replica that checked goes, so that the first call is a cold start like any other; on update they take over. */
  #switch(entry: FunctionEntry, build: Build, isUpdate: boolean): void {
    const hadReplicas = build.replaces || (entry.existingDispatcher?.replicas ?? 0) > 0;
    const ready = build.replicas.filter((replica) => replica.readyInfo !== undefined && replica.accepting);
    const keep = isUpdate && hadReplicas ? ready : [];
    for (const replica of build.replicas) if (!keep.includes(replica)) replica.drain(0);
    if (entry.existingDispatcher !== undefined || entry.stored.spec.minReplicas > 0) this.#serve(entry, keep);
  }

  #serve(entry: FunctionEntry, keep: readonly Replica[]): void {
    const { existingDispatcher } = entry;
    // One that is made now serves from its beginning.
    if (existingDispatcher === undefined) return void entry.dispatcher();
    const served = this.servedOf(entry.stored);
    if (served !== undefined) existingDispatcher.serve(served, keep);
  }

  async #failed(entry: FunctionEntry, build: Build, error: unknown): Promise<void> {
    for (const replica of build.replicas) replica.kill();
    build.replicas = [];
    entry.existingDispatcher?.expectNoMore();
    const obstacle = findObstacle(error, build.retries);
    if (obstacle !== undefined) {
      // What it waits for is shown, and is no part of what is stored.
      entry.stored = { ...entry.stored, status: { ...entry.stored.status, ...obstacle } };
      return this.#retryLater(entry, build);
    }
    const { reason, message } = describeFailure(error);
    const stored: StoredFunction = {
      ...entry.stored,
      status: { ...entry.stored.status, state: "failed", observedGeneration: entry.stored.generation, reason, message },
    };
    if (!(await this.#commit(entry, build, stored))) return;
    entry.existingDispatcher?.fail(buildFailedError(stored));
    this.#options.onDeployed(stored);
  }

  /** False when a newer spec has come meanwhile, or the store is away: then it is tried again. */
  #commit(entry: FunctionEntry, build: Build, stored: StoredFunction): Promise<boolean> {
    const writing = this.#write(entry, build, stored);
    build.writing = writing;
    return writing;
  }

  async #write(entry: FunctionEntry, build: Build, stored: StoredFunction): Promise<boolean> {
    try {
      failpoint("build.before-commit");
      await this.#options.store.putFunction(stored);
      failpoint("build.after-commit");
    } catch (error) {
      if (!build.cancelled) {
        for (const replica of build.replicas) replica.kill();
        entry.existingDispatcher?.expectNoMore();
        this.#options.onError(error, stored);
        this.#retryLater(entry, build);
      }
      return false;
    }
    // A newer spec commits after this one, in order; what it wrote must not be undone in memory.
    if (build.cancelled) return false;
    entry.stored = stored;
    this.#builds.delete(stored.uid);
    return true;
  }

  #retryLater(entry: FunctionEntry, build: Build): void {
    build.replicas = [];
    build.retry = this.#options.clock.setTimer(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** build.retries), () => {
      if (!build.cancelled) this.#begin(entry, build.retries + 1);
    });
  }

  #codeSource(uid: string, revision: number): CodeSource {
    const { codeCache, store } = this.#options;
    return () =>
      codeCache.get(uid, revision) ??
      store.readCode(uid, revision).then((code) => {
        codeCache.set(uid, revision, code);
        return code;
      });
  }
}

/** What calls of a function without a good revision are told. */
export function buildFailedError(stored: StoredFunction): KsError {
  const { reason, message } = stored.status;
  return new KsError("FUNCTION_FAILED", {
    message: `The function could not be loaded: ${message ?? "unknown"}`,
    details: { reason, message },
  });
}

/** What is not the code's fault: it is tried again while the function stays `deploying`. Undefined for a failure. */
function findObstacle(error: unknown, retries: number): { reason?: string; message?: string } | undefined {
  if (!(error instanceof KsError)) return undefined;
  const { code, message } = error;
  if (isPodLost(error)) return retries < MAX_POD_LOSSES ? { reason: "PodLost", message } : undefined;
  if (error instanceof RuntimeNotStarted) return { reason: "RuntimeNotStarted", message };
  if (code === "NO_CAPACITY") return { reason: "NoCapacity", message };
  if (code === "STORE_UNAVAILABLE") return { reason: "StoreUnavailable", message };
  return code === "DRAINING" ? {} : undefined;
}

function isPodLost({ code, details }: KsError): boolean {
  return code === "FUNCTION_CRASHED" && (details as { reason?: unknown } | undefined)?.reason === "PodLost";
}

function describeFailure(cause: unknown): { reason: string; message: string } {
  const error = cause instanceof KsError ? cause : new KsError("INTERNAL", { cause });
  const details = error.details as { reason?: unknown; message?: unknown; stderr?: unknown } | undefined;
  if (typeof details?.reason === "string" && typeof details.message === "string")
    return { reason: details.reason, message: details.message };
  const reason = error.code === "FUNCTION_OUT_OF_MEMORY" ? "OutOfMemory" : error.code === "FUNCTION_CRASHED" ? "Crashed" : "Internal";
  // A process that ends while it loads has said why at best there.
  const printed = typeof details?.stderr === "string" ? `; it printed: ${details.stderr}` : "";
  return { reason, message: `${reason}: ${error.message}${printed}` };
}
