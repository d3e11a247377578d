import { randomBytes } from "node:crypto";
import { type FunctionSpec, KsError, type RuntimeInfo } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import { failpoint } from "../failpoint.ts";
import { KeyedTurns } from "../keyed-turns.ts";
import type { FunctionStore, StoredFunction } from "../store/port.ts";
import { applyChange } from "./apply-change.ts";
import type { CodeCache } from "./code-cache.ts";
import type { Deployer } from "./deployer.ts";
import { checkIfMatch } from "./if-match.ts";
import { type FunctionService, type FunctionView, type IfMatch, showDeleting } from "./port.ts";
import { type EntryParts, FunctionEntry, type FunctionRegistry } from "./registry.ts";
import { buildRoutes } from "./route-table.ts";
import { compareSpecs, withoutCode } from "./spec-change.ts";
import { checkRuntime, refuseTakenPath } from "./spec-refusals.ts";

export interface FunctionServiceOptions extends EntryParts {
  clock: Clock;
  store: FunctionStore;
  registry: FunctionRegistry;
  codeCache: CodeCache;
  deployer: Deployer;
  runtimes(): readonly RuntimeInfo[];
  installHint(runtime: string): string;
  /** Triggers of a function have changed, or it is gone: cron and queues follow. */
  onTriggersChanged(): void;
  /** ISO 8601, undefined before the first. */
  lastInvocation(uid: string): string | undefined;
  /** A function is gone: its logs and counters may go. */
  onDeleted(uid: string): void;
}

/** The use-cases of the control API over the store, the registry and the deployer. */
export class DefaultFunctionService implements FunctionService {
  readonly #options: FunctionServiceOptions;
  /** Names whose first commit is under way. */
  readonly #creating = new Set<string>();
  /** Functions that are gone for new calls while those within end, by name. The store has their code no longer. */
  readonly #deleting = new Map<string, { entry: FunctionEntry; code: string | undefined }>();
  /** Changes of one function happen one after the other. */
  readonly #changes = new KeyedTurns();
  #draining = false;

  constructor(options: FunctionServiceOptions) {
    this.#options = options;
  }

  /** Brings what the store has into memory; unfinished builds begin anew. */
  async load(): Promise<void> {
    for (const stored of await this.#options.store.loadFunctions()) {
      const entry = new FunctionEntry(stored, this.#options);
      this.#options.registry.add(entry);
      this.#options.deployer.resume(entry);
    }
  }

  /** No more changes. */
  drain(): void {
    this.#draining = true;
  }

  /** Functions that are deleted while calls within still end. */
  *deleting(): Iterable<FunctionEntry> {
    for (const { entry } of this.#deleting.values()) yield entry;
  }

  list(): FunctionView[] {
    const views = [...this.#options.registry.entries()].map((entry) => this.#view(entry));
    for (const { entry } of this.#deleting.values()) views.push(showDeleting(this.#view(entry)));
    return views.sort((a, b) => (a.stored.spec.name < b.stored.spec.name ? -1 : 1));
  }

  get(name: string): FunctionView {
    const deleting = this.#deleting.get(name);
    return deleting === undefined ? this.#view(this.#options.registry.require(name)) : showDeleting(this.#view(deleting.entry));
  }

  async readCode(name: string): Promise<string> {
    const deleting = this.#deleting.get(name);
    if (deleting?.code !== undefined) return deleting.code;
    const { uid, revision } = this.#options.registry.require(name).stored;
    return this.#readRevision(uid, revision);
  }

  async create(spec: FunctionSpec): Promise<FunctionView> {
    this.#refuseWhileDraining();
    this.#checkNameIsFree(spec.name);
    checkRuntime(spec.runtime, this.#options);
    const uid = randomBytes(9).toString("base64url").replaceAll(/[-_]/g, "0");
    this.#checkRoutes(uid, withoutCode(spec));
    this.#creating.add(spec.name);
    const stored: StoredFunction = {
      uid,
      createdAt: new Date(this.#options.clock.nowMs()).toISOString(),
      generation: 1,
      revision: 1,
      spec: withoutCode(spec),
      status: { state: "deploying", observedGeneration: 0, revision: 0 },
    };
    const entry = new FunctionEntry(stored, this.#options);
    // Its paths are taken before the commit, so that another create cannot take them meanwhile.
    this.#options.registry.reservedRoutes.set(uid, buildRoutes(uid, stored.spec));
    try {
      await this.#options.store.putFunction(stored, spec.code);
    } catch (error) {
      this.#options.registry.reservedRoutes.remove(uid);
      throw error;
    } finally {
      this.#creating.delete(spec.name);
    }
    failpoint("deploy.after-commit");
    this.#options.codeCache.set(uid, 1, spec.code);
    this.#options.registry.add(entry);
    this.#options.deployer.build(entry);
    this.#options.onTriggersChanged();
    return this.#view(entry);
  }

  update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    return this.#changes.run(name, () => this.#update(name, spec, ifMatch));
  }

  async delete(name: string, ifMatch: IfMatch): Promise<void> {
    const entry = await this.#changes.run(name, () => this.#delete(name, ifMatch));
    // Outside the order of changes: what comes now is told at once that the function is gone.
    await this.#end(entry);
    failpoint("delete.before-reply");
  }

  async #update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    this.#refuseWhileDraining();
    const entry = this.#options.registry.require(name);
    const before = entry.stored;
    checkIfMatch(before, ifMatch);
    checkRuntime(spec.runtime, this.#options);
    const after = withoutCode(spec);
    this.#checkRoutes(before.uid, after);
    const code = await this.#readRevision(before.uid, before.revision);
    await this.#options.deployer.written(entry);
    const change = compareSpecs(before.spec, after, code === spec.code);
    if (change === "same") {
      if (entry.stored.status.state === "failed") await this.#buildAgain(entry);
      return this.#view(entry);
    }
    await this.#put(entry, after, change === "revision" ? spec.code : undefined);
    return this.#view(entry);
  }

  async #buildAgain(entry: FunctionEntry): Promise<void> {
    const before = entry.stored;
    await this.#commit(entry, { ...before, status: { ...withoutFailure(before.status), state: "deploying" } }, undefined);
    this.#options.deployer.build(entry);
  }

  async #put(entry: FunctionEntry, spec: StoredFunction["spec"], code: string | undefined): Promise<void> {
    const before = entry.stored;
    const revision = before.revision + (code === undefined ? 0 : 1);
    const { stored, build } = applyChange(before, { spec, generation: before.generation + 1, revision });
    await this.#commit(entry, stored, code);
    if (code !== undefined) this.#options.codeCache.set(stored.uid, stored.revision, code);
    if (build) this.#options.deployer.build(entry);
    else this.#options.deployer.applyInPlace(entry);
    this.#options.onTriggersChanged();
  }

  async #commit(entry: FunctionEntry, stored: StoredFunction, code: string | undefined): Promise<void> {
    const { registry, store } = this.#options;
    registry.reservedRoutes.set(stored.uid, [
      ...buildRoutes(stored.uid, stored.spec),
      ...buildRoutes(stored.uid, (entry.stored.served ?? entry.stored).spec),
    ]);
    this.#options.deployer.cancel(entry);
    try {
      await store.putFunction(stored, code);
    } catch (error) {
      registry.syncRoutes(entry);
      this.#options.deployer.resume(entry);
      throw error;
    }
    failpoint("update.after-commit");
    entry.stored = stored;
    registry.syncRoutes(entry);
  }

  async #delete(name: string, ifMatch: IfMatch): Promise<FunctionEntry> {
    const entry = this.#options.registry.require(name);
    checkIfMatch(entry.stored, ifMatch);
    // Code that cannot be read must not keep a function from being deleted.
    const code = await this.#readRevision(entry.stored.uid, entry.stored.revision).catch(() => undefined);
    // Before the commit: what a build would still write must not bring the function back.
    this.#options.deployer.cancel(entry);
    try {
      await this.#options.store.deleteFunction(entry.stored.uid);
    } catch (error) {
      this.#options.deployer.resume(entry);
      throw error;
    }
    failpoint("delete.after-commit");
    this.#options.registry.remove(entry);
    this.#deleting.set(name, { entry, code });
    this.#options.onTriggersChanged();
    return entry;
  }

  async #end(entry: FunctionEntry): Promise<void> {
    try {
      await entry.existingDispatcher?.close(new KsError("FUNCTION_NOT_FOUND"));
      this.#options.onDeleted(entry.stored.uid);
    } finally {
      this.#deleting.delete(entry.stored.spec.name);
    }
  }

  async #readRevision(uid: string, revision: number): Promise<string> {
    return this.#options.codeCache.get(uid, revision) ?? (await this.#options.store.readCode(uid, revision));
  }

  #view(entry: FunctionEntry): FunctionView {
    const dispatcher = entry.existingDispatcher;
    return {
      stored: entry.stored,
      replicas: dispatcher?.replicas ?? 0,
      readyReplicas: dispatcher?.readyReplicas ?? 0,
      lastInvocation: this.#options.lastInvocation(entry.stored.uid),
    };
  }

  #refuseWhileDraining(): void {
    if (this.#draining) throw new KsError("DRAINING", { retryAfterMs: 1000 });
  }

  #checkNameIsFree(name: string): void {
    if (this.#deleting.has(name)) {
      throw new KsError("FUNCTION_EXISTS", {
        message: `Function ${name} is being deleted: its last calls are ending. Try again in a moment`,
        details: { name, state: "deleting" },
        retryAfterMs: 1000,
      });
    }
    const existing = this.#options.registry.byName(name);
    if (existing === undefined && !this.#creating.has(name)) return;
    const state = existing?.stored.status.state ?? "deploying";
    throw new KsError("FUNCTION_EXISTS", { message: `Function ${name} already exists. Change it with PUT`, details: { name, state } });
  }

  #checkRoutes(uid: string, spec: StoredFunction["spec"]): void {
    refuseTakenPath(this.#options.registry.reservedRoutes, buildRoutes(uid, spec));
  }
}

function withoutFailure(status: StoredFunction["status"]): StoredFunction["status"] {
  const { reason: _reason, message: _message, ...rest } = status;
  return rest;
}
