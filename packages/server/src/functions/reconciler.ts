import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import { type DeclaredFunction, type DeclaredFunctions, type DeclaredProblem, storedOf } from "../store/declared.ts";
import type { StoredFunction } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import { applyChange } from "./apply-change.ts";
import { buildFailedError, type Deployer } from "./deployer.ts";
import { findPathHolder, routeKeys } from "./path-admission.ts";
import { type EntryParts, FunctionEntry, type FunctionRegistry } from "./registry.ts";

const RETRY_MS = 1000;
/** Of a function without HTTP triggers. */
const NO_CLAIMS = "[[],[],[]]";

export interface ReconcilerOptions extends EntryParts {
  clock: Clock;
  tasks: TaskGroup;
  registry: FunctionRegistry;
  deployer: Deployer;
  functions: DeclaredFunctions;
  /** Whether this gateway is the one that builds, scales and writes the status of a function. */
  isOwner(uid: string): boolean;
  onTriggersChanged(): void;
  /** This gateway owns the function from now on: takes over what replicas there are. */
  onGained(entry: FunctionEntry): Promise<void>;
  /** Another gateway owns it from now on. */
  onLost(entry: FunctionEntry): void;
  /** Gone for new calls; ends those within. */
  onGone(entry: FunctionEntry): void;
}

/** What is known of a function beside its entry. */
interface Work {
  latest: DeclaredFunction;
  /** `latest` was not looked at yet. */
  isPending: boolean;
  isRunning: boolean;
  isOwned: boolean;
  redeploy: string | undefined;
  nameTaken: string | undefined;
  /** What others have to mind of its paths, as it was last looked at. */
  claims: string;
}

/**
 * Brings memory in step with what is declared, by whichever door it came: every gateway keeps entry and routes, the owner also
 * deploys. One change of a function after the other; of several that wait only the last counts.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #work = new Map<string, Work>();
  #stopped = false;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  changed(latest: DeclaredFunction): void {
    const work = this.#work.get(latest.uid) ?? {
      latest,
      isPending: false,
      isRunning: false,
      isOwned: false,
      redeploy: latest.redeploy,
      nameTaken: undefined,
      claims: NO_CLAIMS,
    };
    this.#work.set(latest.uid, work);
    work.latest = latest;
    this.#run(work);
  }

  gone({ uid }: DeclaredFunction): void {
    const { registry, deployer, onGone, onTriggersChanged } = this.#options;
    this.#work.delete(uid);
    const entry = registry.byUid(uid);
    if (entry === undefined) return;
    deployer.cancel(entry);
    registry.remove(entry);
    onGone(entry);
    onTriggersChanged();
    this.#recheckConflicts();
  }

  /** Functions may have come to this gateway, or gone to another. */
  ownersChanged(): void {
    for (const work of this.#work.values()) this.#run(work);
  }

  /** Nothing more is taken up. */
  stop(): void {
    this.#stopped = true;
  }

  #run(work: Work): void {
    work.isPending = true;
    if (work.isRunning || this.#stopped) return;
    work.isRunning = true;
    this.#options.tasks.run("reconcile function", () => this.#loop(work));
  }

  async #loop(work: Work): Promise<void> {
    try {
      while (work.isPending && !this.#stopped && this.#work.get(work.latest.uid) === work) {
        work.isPending = false;
        await this.#reconcile(work);
        this.#mindClaims(work);
      }
    } catch (error) {
      this.#options.clock.setTimer(RETRY_MS, () => this.#run(work));
      if (!(error instanceof KsError) || error.code !== "STORE_UNAVAILABLE") throw error;
    } finally {
      work.isRunning = false;
    }
  }

  async #reconcile(work: Work): Promise<void> {
    const { registry, deployer, functions, isOwner } = this.#options;
    const declared = work.latest;
    let entry = registry.byUid(declared.uid);
    if (entry === undefined) {
      entry = new FunctionEntry(visibleOf(declared), this.#options);
      registry.add(entry);
      this.#options.onTriggersChanged();
    }
    if (!isOwner(declared.uid)) return this.#follow(work, entry);
    await deployer.written(entry);
    if (!work.isOwned) {
      work.isOwned = true;
      this.#replace(entry, visibleOf(declared));
      functions.adopt(entry.stored);
      await this.#options.onGained(entry);
      if (await this.#refuseIfWrong(work, entry)) return;
      deployer.resume(entry);
    } else {
      if (await this.#refuseIfWrong(work, entry)) return;
      await this.#apply(work, entry);
    }
    await this.#name(work);
  }

  /** Another owns it: its word counts. */
  #follow(work: Work, entry: FunctionEntry): void {
    if (work.isOwned) {
      work.isOwned = false;
      this.#options.deployer.cancel(entry);
      this.#options.functions.release(entry.stored.uid);
      this.#options.onLost(entry);
    }
    this.#replace(entry, visibleOf(work.latest));
  }

  /** Its paths may go before those of a function that is owned here, or have become free for it. */
  #mindClaims(work: Work): void {
    const claims = claimsOf(work.latest);
    if (claims === work.claims) return;
    work.claims = claims;
    this.#recheckConflicts(work);
  }

  #replace(entry: FunctionEntry, stored: StoredFunction): void {
    entry.stored = stored;
    this.#options.registry.syncRoutes(entry);
    this.#options.onTriggersChanged();
  }

  async #apply(work: Work, entry: FunctionEntry): Promise<void> {
    const { deployer, functions } = this.#options;
    const { generation, revision, spec, redeploy } = work.latest;
    const before = entry.stored;
    const isSame = generation === before.generation && revision === before.revision && !isHeldBack(before);
    const isAgain = redeploy !== work.redeploy && before.status.state === "failed";
    work.redeploy = redeploy;
    if (isSame && !isAgain) return;
    const { stored, build } = applyChange(before, { spec, generation, revision });
    deployer.cancel(entry);
    if (!build) await functions.putFunction(stored);
    this.#replace(entry, stored);
    if (build) {
      deployer.build(entry);
      // Said while it is built: who waits sees that it is under way.
      await functions.putFunction(stored);
    } else deployer.applyInPlace(entry);
    this.#recheckConflicts(work);
  }

  /** True when the spec cannot be deployed, which its status says then; what served goes on. */
  async #refuseIfWrong(work: Work, entry: FunctionEntry): Promise<boolean> {
    const { functions, registry, deployer } = this.#options;
    const declared = work.latest;
    const { problem } = declared;
    // A reference may have been seen before what it refers to.
    if (problem?.reason === "CodeMissing" && (await functions.findCode(declared))) return true;
    const conflict = problem ?? describeConflict(findPathHolder(declared, registry, (uid) => functions.byUid(uid)));
    if (conflict === undefined) return false;
    const { status } = entry.stored;
    const isSaid = status.state === "failed" && status.message === conflict.message && status.observedGeneration === declared.generation;
    if (isSaid) return true;
    deployer.cancel(entry);
    const stored: StoredFunction = {
      ...entry.stored,
      generation: declared.generation,
      spec: { ...entry.stored.spec, triggers: entry.stored.served?.spec.triggers ?? [] },
      status: { ...status, state: "failed", observedGeneration: declared.generation, ...conflict },
    };
    await functions.putFunction(stored);
    this.#replace(entry, stored);
    entry.existingDispatcher?.fail(buildFailedError(stored));
    functions.report(declared.uid, conflict.reason === "RouteConflict" ? "RouteConflict" : "DeployFailed", conflict.message);
    this.#recheckConflicts(work);
    return true;
  }

  async #name(work: Work): Promise<void> {
    const { functions } = this.#options;
    const { uid } = work.latest;
    const nameTaken = await functions.ensureName(work.latest);
    functions.noteLive(uid, { nameTaken });
    if (nameTaken !== undefined && nameTaken !== work.nameTaken) functions.report(uid, "NameTaken", nameTaken);
    work.nameTaken = nameTaken;
  }

  /** Paths have changed hands: who was held back for one may go on, and who has one that another goes before gives way. */
  #recheckConflicts(except?: Work): void {
    const { functions, registry } = this.#options;
    for (const work of this.#work.values()) {
      if (!work.isOwned || work === except) continue;
      const entry = registry.byUid(work.latest.uid);
      const isHeld = entry?.stored.status.reason === "RouteConflict";
      if (isHeld || findPathHolder(work.latest, registry, (uid) => functions.byUid(uid)) !== undefined) this.#run(work);
    }
  }
}

/** What of a function's paths decides who goes before whom. */
function claimsOf({ uid, spec, served, status: { admittedPaths } }: DeclaredFunction): string {
  return JSON.stringify([routeKeys(uid, spec), served === undefined ? [] : routeKeys(uid, served.spec), admittedPaths]);
}

/** Not for its code: the same spec may go on once the reason is gone. */
function isHeldBack({ status }: StoredFunction): boolean {
  return status.state === "failed" && ["RouteConflict", "CodeMissing", "InvalidSpec"].includes(status.reason ?? "");
}

function describeConflict(found: ReturnType<typeof findPathHolder>): DeclaredProblem | undefined {
  if (found === undefined) return undefined;
  const message = `RouteConflict: path ${found.path} is taken by function ${found.holder.name}`;
  return { reason: "RouteConflict", message };
}

/** As the house sees it: what is held back before it ever served has no paths. */
function visibleOf(declared: DeclaredFunction): StoredFunction {
  const stored = storedOf(declared);
  const isHidden = stored.served === undefined && (declared.problem !== undefined || isHeldBack(stored));
  return isHidden ? { ...stored, spec: { ...stored.spec, triggers: [] } } : stored;
}
