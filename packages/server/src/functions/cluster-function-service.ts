import { type FunctionSpec, KsError, type RuntimeInfo } from "@kube-serverless/contracts";
import { KeyedTurns } from "../keyed-turns.ts";
import { type DeclaredFunction, type DeclaredFunctions, storedOf } from "../store/declared.ts";
import { checkIfMatch } from "./if-match.ts";
import { type FunctionService, type FunctionView, type IfMatch, showDeleting } from "./port.ts";
import type { FunctionEntry, FunctionRegistry } from "./registry.ts";
import { buildRoutes } from "./route-table.ts";
import { checkRuntime, refuseTakenPath } from "./spec-refusals.ts";
import { compareSpecs, withoutCode } from "./spec-change.ts";

/** Others may write at the same time; so often a change is tried on what they left. */
const MAX_TRIES = 5;

export interface ClusterFunctionServiceOptions {
  functions: DeclaredFunctions;
  registry: FunctionRegistry;
  runtimes(): readonly RuntimeInfo[];
  installHint(runtime: string): string;
  /** ISO 8601, undefined before the first. */
  lastInvocation(uid: string): string | undefined;
  /** A function is gone and its last call has ended: its logs and counters may go. */
  onDeleted(uid: string): void;
  /** Whether a call would find what this says, at every gateway that is ready. */
  isKnownEverywhere(uid: string, generation: number): boolean | Promise<boolean>;
  /** Resolves when the calls within a function that is gone have ended, at every gateway. */
  untilEnded(uid: string): Promise<void>;
}

/** The use-cases of the control API where functions are declared: one of two doors, so all is read from where the other writes, too. */
export class ClusterFunctionService implements FunctionService {
  readonly #options: ClusterFunctionServiceOptions;
  /** Names of functions that are gone for new calls while those within end. */
  readonly #deleting = new Map<string, { entry: FunctionEntry; ended: Promise<void> }>();
  /** What this gateway was asked to delete, by name, until the last call has ended at every gateway. */
  readonly #ending = new Map<string, { declared: DeclaredFunction; code: string | undefined }>();
  readonly #changes = new KeyedTurns();
  #draining = false;
  #holds = 0;

  constructor(options: ClusterFunctionServiceOptions) {
    this.#options = options;
  }

  /** No more changes. */
  drain(): void {
    this.#draining = true;
  }

  /** Functions that are deleted while calls within still end. */
  *deleting(): Iterable<FunctionEntry> {
    for (const { entry } of this.#deleting.values()) yield entry;
  }

  async list(): Promise<FunctionView[]> {
    const all = await this.#options.functions.readAll();
    const views = await Promise.all(all.map((declared) => this.#view(declared)));
    const names = new Set(all.map(({ spec }) => spec.name));
    for (const [name, { declared }] of this.#ending) if (!names.has(name)) views.push(showDeleting(await this.#view(declared)));
    return views.sort((a, b) => (a.stored.spec.name < b.stored.spec.name ? -1 : 1));
  }

  async get(name: string): Promise<FunctionView> {
    const declared = await this.#options.functions.read(name);
    if (declared !== undefined) return this.#view(declared);
    const ending = this.#ending.get(name);
    if (ending === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return showDeleting(await this.#view(ending.declared));
  }

  async readCode(name: string): Promise<string> {
    const code = (await this.#options.functions.readWithCode(name))?.code ?? this.#ending.get(name)?.code;
    if (code === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return code;
  }

  async create(spec: FunctionSpec): Promise<FunctionView> {
    this.#refuseWhileDraining();
    this.#refuseWhileDeleting(spec.name);
    checkRuntime(spec.runtime, this.#options);
    // A uid comes with the write; no function has the name as its uid.
    return this.#holdingPaths(spec.name, spec, async () => this.#view(await this.#options.functions.create(spec)));
  }

  update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    return this.#changes.run(name, () => this.#update(name, spec, ifMatch));
  }

  async #update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    this.#refuseWhileDraining();
    checkRuntime(spec.runtime, this.#options);
    const { functions } = this.#options;
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const found = await functions.readWithCode(name);
      if (found === undefined) throw new KsError("FUNCTION_NOT_FOUND");
      const { declared, code } = found;
      checkIfMatch(declared, ifMatch);
      const isSame = declared.problem === undefined && compareSpecs(declared.spec, withoutCode(spec), code === spec.code) === "same";
      const hasFailed = declared.status.state === "failed" && declared.status.observedGeneration === declared.generation;
      if (isSame && !hasFailed) return this.#view(declared);
      const write = (): Promise<DeclaredFunction | undefined> =>
        isSame ? functions.redeploy(declared) : functions.replace(declared, spec);
      const written = await this.#holdingPaths(declared.uid, spec, write);
      if (written === undefined) continue;
      const view = await this.#view(written);
      return isSame ? { ...view, stored: { ...view.stored, status: { ...view.stored.status, state: "deploying" } } } : view;
    }
    throw tooManyWriters(name);
  }

  async delete(name: string, ifMatch: IfMatch): Promise<void> {
    const { functions } = this.#options;
    for (let tries = 1; tries <= MAX_TRIES; tries++) {
      const declared = await functions.read(name);
      if (declared === undefined) throw new KsError("FUNCTION_NOT_FOUND");
      checkIfMatch(declared, ifMatch);
      // Code that cannot be read must not keep a function from being deleted.
      const read = await functions.readWithCode(name).catch(() => undefined);
      if (!(await functions.remove(declared))) continue;
      const ending = { declared, code: read?.code };
      this.#ending.set(name, ending);
      return this.#options.untilEnded(declared.uid).finally(() => {
        if (this.#ending.get(name) === ending) this.#ending.delete(name);
      });
    }
    throw tooManyWriters(name);
  }

  /** Resolves when the calls within have ended at this gateway. Here it may not be known yet that the function is gone. */
  async untilEndedHere(uid: string): Promise<void> {
    const { functions, registry } = this.#options;
    const known = registry.byUid(uid);
    if (known !== undefined) await functions.read(known.stored.spec.name);
    for (const { entry, ended } of this.#deleting.values()) if (entry.stored.uid === uid) await ended;
  }

  /** A function is no longer declared: its calls end. */
  onGone(entry: FunctionEntry): void {
    const { name } = entry.stored.spec;
    const ended = this.#end(entry).finally(() => {
      if (this.#deleting.get(name)?.entry === entry) this.#deleting.delete(name);
    });
    this.#deleting.set(name, { entry, ended });
  }

  /** Until the write is known here, nobody else at this gateway may take the paths. Others lose them to whoever was first. */
  async #holdingPaths<T>(uid: string, spec: FunctionSpec, write: () => Promise<T>): Promise<T> {
    const { registry } = this.#options;
    const routes = buildRoutes(uid, withoutCode(spec));
    refuseTakenPath(registry, routes);
    const key = `${uid} by REST ${this.#holds++}`;
    registry.reservedRoutes.set(
      key,
      routes.map((route) => ({ ...route, uid: key })),
    );
    try {
      return await write();
    } finally {
      registry.reservedRoutes.remove(key);
    }
  }

  async #end(entry: FunctionEntry): Promise<void> {
    await entry.existingDispatcher?.close(new KsError("FUNCTION_NOT_FOUND"));
    this.#options.onDeleted(entry.stored.uid);
  }

  async #view(declared: DeclaredFunction): Promise<FunctionView> {
    const { registry, lastInvocation, isKnownEverywhere } = this.#options;
    const { uid, generation, status } = declared;
    const dispatcher = registry.byUid(uid)?.existingDispatcher;
    const stored = storedOf(declared);
    if (stored.status.state === "running" && !(await isKnownEverywhere(uid, generation))) {
      stored.status = { ...stored.status, state: "deploying" };
    }
    return {
      stored,
      replicas: dispatcher?.replicas ?? status.replicas,
      readyReplicas: dispatcher?.readyReplicas ?? status.readyReplicas,
      lastInvocation: lastInvocation(uid) ?? status.lastInvocation,
    };
  }

  #refuseWhileDraining(): void {
    if (this.#draining) throw new KsError("DRAINING", { retryAfterMs: 1000 });
  }

  #refuseWhileDeleting(name: string): void {
    if (!this.#deleting.has(name)) return;
    throw new KsError("FUNCTION_EXISTS", {
      message: `Function ${name} is being deleted: its last calls are ending. Try again in a moment`,
      details: { name, state: "deleting" },
      retryAfterMs: 1000,
    });
  }
}

function tooManyWriters(name: string): KsError {
  return new KsError("STORE_UNAVAILABLE", {
    message: `Function ${name} is being changed by others all the time. Try again`,
    retryAfterMs: 1000,
  });
}
