import { type FunctionSpec, KsError, type RuntimeInfo } from "@kube-serverless/contracts";
import { defined } from "../defined.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { KeyedTurns } from "../keyed-turns.ts";
import { type DeclaredFunction, type DeclaredFunctions, storedOf } from "../store/declared.ts";
import { checkIfMatch } from "./if-match.ts";
import { type FunctionService, type FunctionView, type IfMatch, showDeleting } from "./port.ts";
import type { FunctionEntry, FunctionRegistry } from "./registry.ts";
import type { PathKeeper } from "./path-keeper.ts";
import { checkRuntime } from "./spec-refusals.ts";
import { compareSpecs, withoutCode } from "./spec-change.ts";

/** Others may write at the same time; so often a change is tried on what they left. */
const MAX_TRIES = 5;

export interface ClusterFunctionServiceOptions {
  functions: DeclaredFunctions;
  paths: PathKeeper;
  registry: FunctionRegistry;
  runtimes(): readonly RuntimeInfo[];
  installHint(runtime: string): string;
  /** ISO 8601, undefined before the first. */
  lastInvocation(uid: string): string | undefined;
  /** What its owner knows of it as it is now; undefined where the owner cannot be asked. */
  askLive(uid: string): Promise<LiveView | undefined>;
  /** A function is gone and its last call has ended: its logs and counters may go. */
  onDeleted(uid: string): void;
  /** Whether a call would find what this says, at every gateway that is ready. */
  isKnownEverywhere(uid: string, generation: number): boolean | Promise<boolean>;
  /** Resolves when the calls within a function that is gone have ended, at every gateway. */
  untilEnded(uid: string): Promise<void>;
  /** Resolves when no gateway keeps the name of a function that is gone any more. */
  untilNameIsFree(uid: string): Promise<void>;
  /** The code of what some gateway is asked to delete, by name. */
  codeOfDeletion(name: string): Promise<string | undefined>;
}

/** What changes all the time. */
export interface LiveView {
  replicas: number;
  readyReplicas: number;
  /** Absent before the first. */
  lastInvocation?: string;
}

interface Deletion {
  entry: FunctionEntry;
  /** The calls within have ended at this gateway. */
  ended: Promise<void>;
  /** At every gateway. */
  over: Promise<void>;
}

/** The use-cases of the control API where functions are declared: one of two doors, so all is read from where the other writes, too. */
export class ClusterFunctionService implements FunctionService {
  readonly #options: ClusterFunctionServiceOptions;
  /** Names of functions that are gone for new calls while those within end, at whichever gateway. */
  readonly #deleting = new Map<string, Deletion>();
  /** What this gateway was asked to delete, by name, until the last call has ended at every gateway. */
  readonly #ending = new Map<string, { declared: DeclaredFunction; code: string | undefined }>();
  readonly #changes = new KeyedTurns();
  #draining = false;

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
    for (const name of new Set([...this.#ending.keys(), ...this.#deleting.keys()])) {
      const deleting = names.has(name) ? undefined : await this.#viewOfDeletion(name);
      if (deleting !== undefined) views.push(deleting);
    }
    return views.sort((a, b) => (a.stored.spec.name < b.stored.spec.name ? -1 : 1));
  }

  async get(name: string): Promise<FunctionView> {
    const declared = await this.#options.functions.read(name);
    if (declared !== undefined) return { ...(await this.#view(declared)), ...(await this.#options.askLive(declared.uid)) };
    const deleting = await this.#viewOfDeletion(name);
    if (deleting === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return deleting;
  }

  async readCode(name: string): Promise<string> {
    const code = (await this.#options.functions.readWithCode(name))?.code ?? (await this.#options.codeOfDeletion(name));
    if (code === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return code;
  }

  async create(spec: FunctionSpec): Promise<FunctionView> {
    const { functions, paths, registry } = this.#options;
    this.#refuseWhileDraining();
    // What is known here by that name may be gone already, with calls that still end.
    if (registry.byName(spec.name) !== undefined) await functions.read(spec.name);
    this.#refuseWhileDeleting(spec.name);
    checkRuntime(spec.runtime, this.#options);
    // A uid comes with the write; no function has the name as its uid.
    return asDeploying(await this.#view(await paths.holding(spec.name, spec, () => functions.create(spec))));
  }

  update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    return this.#changes.run(name, () => this.#update(name, spec, ifMatch));
  }

  async #update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView> {
    this.#refuseWhileDraining();
    checkRuntime(spec.runtime, this.#options);
    const { functions, paths } = this.#options;
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
      const written = await paths.holding(declared.uid, spec, write);
      if (written === undefined) continue;
      const view = await this.#view(written);
      return isSame ? asDeploying(view) : view;
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
      return this.#options.untilNameIsFree(declared.uid).finally(() => {
        if (this.#ending.get(name) === ending) this.#ending.delete(name);
      });
    }
    throw tooManyWriters(name);
  }

  /** The owner's word. */
  liveHere(uid: string): LiveView {
    return this.#live(uid, this.#options.registry.byUid(uid)?.existingDispatcher);
  }

  /** The code of what this gateway was asked to delete, until that is over. */
  codeOfDeletionHere(name: string): string | undefined {
    return this.#ending.get(name)?.code;
  }

  /** Resolves when the calls within have ended at this gateway. Here it may not be known yet that the function is gone. */
  async untilEndedHere(uid: string): Promise<void> {
    const { functions, registry } = this.#options;
    const known = registry.byUid(uid);
    if (known !== undefined) await functions.read(known.stored.spec.name);
    await this.#deletionOf(uid)?.ended;
  }

  /** Resolves when this gateway does not keep the name of a function that is gone. */
  async untilNameIsFreeHere(uid: string): Promise<void> {
    await this.untilEndedHere(uid);
    await this.#deletionOf(uid)?.over;
  }

  /** A function is no longer declared: its calls end. */
  onGone(entry: FunctionEntry): void {
    const { uid, spec } = entry.stored;
    const ended = this.#end(entry);
    const over = this.#untilOver(uid, ended).finally(() => {
      if (this.#deleting.get(spec.name)?.entry === entry) this.#deleting.delete(spec.name);
    });
    this.#deleting.set(spec.name, { entry, ended, over });
  }

  async #end(entry: FunctionEntry): Promise<void> {
    await entry.existingDispatcher?.close(new KsError("FUNCTION_NOT_FOUND"));
    this.#options.onDeleted(entry.stored.uid);
  }

  async #untilOver(uid: string, ended: Promise<void>): Promise<void> {
    await ended;
    await this.#options.untilEnded(uid);
  }

  #deletionOf(uid: string): Deletion | undefined {
    for (const deletion of this.#deleting.values()) if (deletion.entry.stored.uid === uid) return deletion;
    return undefined;
  }

  /** Whichever gateway was asked to delete it, this one knows of it while it knew the function. */
  async #viewOfDeletion(name: string): Promise<FunctionView | undefined> {
    const ending = this.#ending.get(name);
    if (ending !== undefined) return showDeleting(await this.#view(ending.declared));
    const entry = this.#deleting.get(name)?.entry;
    if (entry === undefined) return undefined;
    const { existingDispatcher, stored } = entry;
    return showDeleting({ stored, lastInvocation: undefined, ...this.#live(stored.uid, existingDispatcher) });
  }

  #live(uid: string, dispatcher: Dispatcher | undefined): LiveView {
    const figures = { replicas: dispatcher?.replicas ?? 0, readyReplicas: dispatcher?.readyReplicas ?? 0 };
    return { ...figures, ...defined({ lastInvocation: this.#options.lastInvocation(uid) }) };
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

/** What was asked for is under way, though a fast deploy may be over already. */
function asDeploying(view: FunctionView): FunctionView {
  return { ...view, stored: { ...view.stored, status: { ...view.stored.status, state: "deploying" } } };
}

function tooManyWriters(name: string): KsError {
  return new KsError("STORE_UNAVAILABLE", {
    message: `Function ${name} is being changed by others all the time. Try again`,
    retryAfterMs: 1000,
  });
}
