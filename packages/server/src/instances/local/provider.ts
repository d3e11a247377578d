import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { KsError, languageOf, type RuntimeInfo } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import { FrameReplica } from "../frame-replica.ts";
import type { CodeSource, Dispensable, PoolState, Replica, ReplicaProvider, ReplicaPurpose, RevisionRef } from "../port.ts";
import { CapacityLedger, type CapacityLimits, type Evictable, type Reservation } from "./capacity.ts";
import { describeExit } from "../describe-exit.ts";
import { hearLastWords } from "./last-words.ts";
import { listenToDescriptors, type OutputSink } from "./descriptor-output.ts";
import { classKey, type PooledReplica, ReplicaPool, type ReplicaClass } from "./pool.ts";
import type { CatalogueEntry } from "./runtimes/catalogue.ts";
import type { CompiledPython } from "./runtimes/compiled-python.ts";
import { planNode, planPython, type StartPlan } from "./runtimes/language.ts";
import { detectModuleKind } from "../module-kind.ts";
import type { Sandbox, SandboxedProcess } from "./sandbox/port.ts";
import { RuntimeNotStarted } from "../runtime-not-started.ts";
import { StartGate } from "./start-gate.ts";
import { awaitHello, type WaitingReplica } from "./waiting-replica.ts";

/** Loading code may take so long. */
const LOAD_TIMEOUT_MS = 10_000;
/** Ten times what a runtime takes on a slow machine: on a busy one, a start that is given up makes the next no faster. */
const HELLO_TIMEOUT_MS = 30_000;

/** A compiled function. */
export interface GoProgram {
  /** Puts it into a waiting replica's folder; compiles it once more where it was thrown away meanwhile. */
  link(functionFolder: string): Promise<void>;
}

/** Go's part: its replicas wait for a compiled program rather than for source. */
export interface GoSupport {
  /** Plan of the waiting launcher, and the folder outside that is bound at `/function`. */
  planLauncher(replicaId: string): Promise<StartPlan & { functionFolder: string }>;
  /** Compiles, or finds compiled. @throws KsError `FUNCTION_FAILED`, `STORE_UNAVAILABLE` where the disk is full */
  build(revision: RevisionRef, code: string, entry: CatalogueEntry): Promise<GoProgram>;
  /** The replica is gone: its folder may go. */
  release(functionFolder: string): Promise<void>;
}

export interface LocalProviderOptions {
  clock: Clock;
  sandbox: Sandbox;
  catalogue: ReadonlyMap<string, CatalogueEntry>;
  runtimesFolder: string;
  limits: CapacityLimits;
  /** How to install a runtime that the catalogue lacks. */
  installHint(runtime: string): string;
  /** Waiting replicas by class. */
  pools: readonly { replicaClass: ReplicaClass; size: number }[];
  output: OutputSink;
  python: CompiledPython;
  go: GoSupport | undefined;
  /** Resolves when Go's tools are there, and never while they cannot be made. */
  goReady: Promise<void>;
  /** Idle replicas of all functions, those first that should go first. */
  idleReplicas(): Iterable<Dispensable>;
  /** Replicas of that function, busy or not, which may go for the revision that is to follow them. */
  yieldingReplicas(uid: string): Iterable<Dispensable>;
  onStartFailed(error: unknown, replicaClass: ReplicaClass): void;
}

type ProcessPlan = StartPlan & { functionFolder?: string };
/** Room on the machine: there at once, or when something idle has gone. */
type Room = Reservation | Promise<Reservation> | undefined;
type Claim = { pooled: PooledReplica; room: undefined } | { pooled: undefined; room: Reservation | Promise<Reservation> };

/** Replicas as sandboxed processes of this machine. */
export class LocalProvider implements ReplicaProvider {
  readonly #options: LocalProviderOptions;
  readonly #ledger: CapacityLedger;
  readonly #pool: ReplicaPool;
  readonly #gate = new StartGate(availableParallelism());
  readonly #replicas = new Set<FrameReplica>();
  readonly #reservations = new WeakMap<Replica, Reservation>();
  /** Runtimes whose last start failed. */
  readonly #notStarting = new Set<string>();
  readonly #moduleKinds = new WeakMap<RevisionRef, "commonjs" | "esm">();
  /** Process ids of this run are told apart from those of an earlier one. */
  readonly #runId = Date.now().toString(36);
  #nextId = 1;
  #stopping = false;

  constructor(options: LocalProviderOptions) {
    this.#options = options;
    this.#ledger = new CapacityLedger(options.limits, () => this.#idle());
    this.#ledger.onRoom = () => this.#pool.refill();
    this.#pool = new ReplicaPool({
      clock: options.clock,
      ledger: this.#ledger,
      sizes: new Map(options.pools.map(({ replicaClass, size }) => [classKey(replicaClass), size])),
      maxSize: 4 * availableParallelism(),
      start: (replicaClass, urgent) => this.#startWaiting(replicaClass, urgent),
      onError: (error, replicaClass) => options.onStartFailed(error, replicaClass),
    });
  }

  /** Fills the pools, beside everything else. */
  start(): void {
    for (const { replicaClass } of this.#options.pools) {
      if (languageOf(replicaClass.runtime) !== "go") this.#pool.keep(replicaClass);
      else void this.#options.goReady.then(() => this.#stopping || this.#pool.keep(replicaClass));
    }
  }

  startReplica(revision: RevisionRef, code: CodeSource, purpose: ReplicaPurpose): Replica {
    if (this.#stopping) throw new KsError("DRAINING");
    if (languageOf(revision.spec.runtime) === "go") {
      const replica = this.#createReplica(revision);
      this.#startGo(replica, code, purpose).catch((error: unknown) => this.#startFailed(replica, error));
      return replica;
    }
    const { pooled, room } = this.#claim(revision, purpose);
    const replica = this.#createReplica(revision, pooled?.waiting.process.id);
    const source = code();
    // A claim with its code at hand is specialised within this turn of the event loop.
    if (pooled !== undefined && typeof source === "string") this.#specialise(replica, pooled, source, true);
    else this.#specialiseLater(replica, pooled, room, source).catch((error: unknown) => this.#startFailed(replica, error));
    return replica;
  }

  runtimes(): readonly RuntimeInfo[] {
    return [...this.#options.catalogue.values()].map((entry) => entry.info);
  }

  installHint(runtime: string): string {
    return this.#options.installHint(runtime);
  }

  degraded(): readonly string[] {
    const empty = this.#pool
      .state()
      .filter((pool) => pool.configured > 0 && pool.waiting.length === 0)
      .map((pool) => `pool-${pool.runtime}-empty`);
    const notStarting = [...this.#notStarting].map((runtime) => `runtime-${runtime}-not-starting`);
    return [...this.#options.sandbox.strength.degraded, ...new Set(empty), ...notStarting];
  }

  async poolState(): Promise<PoolState[]> {
    return Promise.all(
      this.#pool.state().map(async ({ runtime, memoryMiB, waiting, target }) => {
        const sizes = await Promise.all(waiting.map((pooled) => pooled.waiting.process.memoryMiB().catch(() => 0)));
        const pssMiB = Math.round(sizes.reduce((sum, size) => sum + size, 0) * 10) / 10;
        return { runtime, memoryMiB, waiting: waiting.length, target, pssMiB };
      }),
    );
  }

  /** For metrics and `/ready`. */
  get use(): { replicas: number; memoryMiB: number; limits: CapacityLimits } {
    return { replicas: this.#ledger.replicas, memoryMiB: this.#ledger.memoryMiB, limits: this.#ledger.limits };
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    this.#stopping = true;
    this.#pool.stop();
    for (const replica of this.#replicas) replica.drain(options.deadlineMs);
    await Promise.all([...this.#replicas].map((replica) => replica.exited));
    await this.#options.sandbox.stop();
  }

  #classOf(revision: RevisionRef): ReplicaClass {
    const { runtime, memory, network } = revision.spec;
    return { runtime, memoryMiB: memory, network };
  }

  #entry(runtime: string): CatalogueEntry & { installed: NonNullable<CatalogueEntry["installed"]> } {
    const entry = this.#options.catalogue.get(runtime);
    if (entry?.installed === undefined) {
      const message = `RuntimeNotFound: the runtime ${runtime} is not installed. ${entry?.info.hint ?? ""}`;
      throw new KsError("FUNCTION_FAILED", { message, details: { reason: "RuntimeNotFound", message } });
    }
    return { ...entry, installed: entry.installed };
  }

  #createReplica(revision: RevisionRef, id: string = this.#newId(revision.spec.runtime)): FrameReplica {
    const replica: FrameReplica = new FrameReplica({
      id,
      revision,
      clock: this.#options.clock,
      loadTimeoutMs: LOAD_TIMEOUT_MS,
      onPrinted: (lines) => this.#options.output.lines(replica, lines),
      onAbandoned: () => undefined,
    });
    this.#replicas.add(replica);
    void replica.exited.then(() => {
      this.#replicas.delete(replica);
      this.#options.output.ended(replica);
    });
    return replica;
  }

  *#idle(): Generator<Evictable> {
    yield* this.#pool.evictable();
    yield* this.#evictables(this.#options.idleReplicas());
  }

  *#evictables(dispensable: Iterable<Dispensable>): Generator<Evictable> {
    for (const { replica, giveUp } of dispensable) {
      const reservation = this.#reservations.get(replica);
      if (reservation !== undefined) yield { reservation, evict: giveUp };
    }
  }

  #newId(runtime: string): string {
    return `${runtime}-${this.#runId}-${this.#nextId++}`;
  }

  /** A waiting replica, or room for one to be started. @throws KsError `NO_CAPACITY` */
  #claim(revision: RevisionRef, purpose: ReplicaPurpose): Claim {
    const replicaClass = this.#classOf(revision);
    const pooled = this.#pool.take(replicaClass);
    if (pooled !== undefined) return { pooled, room: undefined };
    const yielding = (): Iterable<Evictable> => this.#evictables(this.#options.yieldingReplicas(revision.uid));
    return { pooled, room: this.#ledger.reserve(replicaClass.memoryMiB, purpose === "check" ? yielding : undefined) };
  }

  async #specialiseLater(
    replica: FrameReplica,
    pooled: PooledReplica | undefined,
    room: Room,
    code: string | Promise<string>,
  ): Promise<void> {
    // It may fail while the process is still starting: read then, told below.
    const reading = Promise.resolve(code);
    reading.catch(() => undefined);
    const claimed = pooled ?? (await this.#startInRoom(replica, await room!));
    try {
      this.#specialise(replica, claimed, await reading, pooled !== undefined);
    } catch (error) {
      this.#giveBack(claimed);
      throw error;
    }
  }

  async #startInRoom(replica: FrameReplica, reservation: Reservation): Promise<PooledReplica> {
    try {
      // Who wanted it may have left while it waited for room.
      if (replica.ended) throw new KsError("DRAINING");
      return { waiting: await this.#startWaiting(this.#classOf(replica.revision), true, replica.id), reservation };
    } catch (error) {
      reservation.release();
      throw error;
    }
  }

  /** Compiles first, so that no waiting replica is held meanwhile. */
  async #startGo(replica: FrameReplica, code: CodeSource, purpose: ReplicaPurpose): Promise<void> {
    const { revision } = replica;
    const source = await code();
    const go = this.#requireGo();
    const program = await go.build(revision, source, this.#entry(revision.spec.runtime));
    if (replica.ending) return replica.kill();
    const { pooled, room } = this.#claim(revision, purpose);
    const claimed = pooled ?? (await this.#startInRoom(replica, await room));
    try {
      if (claimed.waiting.functionFolder === undefined) throw new KsError("INTERNAL", { message: "a Go replica without a folder" });
      await program.link(claimed.waiting.functionFolder);
      this.#specialise(replica, claimed, source, pooled !== undefined);
    } catch (error) {
      this.#giveBack(claimed);
      throw error;
    }
  }

  #requireGo(): GoSupport {
    const { go } = this.#options;
    if (go === undefined) throw new KsError("INTERNAL", { message: "Go is not set up" });
    return go;
  }

  #giveBack(claimed: PooledReplica): void {
    endProcess(claimed);
    void claimed.waiting.process.exited.then(() => claimed.reservation.release());
  }

  #specialise(replica: FrameReplica, pooled: PooledReplica, code: string, fromPool: boolean): void {
    const { process, startMs } = pooled.waiting;
    const { revision } = replica;
    this.#reservations.set(replica, pooled.reservation);
    replica.ready.then(
      () => this.#pool.putOffRefill(),
      () => undefined,
    );
    listenToDescriptors(process, replica, this.#options.output, this.#options.clock);
    const language = languageOf(revision.spec.runtime);
    void process.exited.then(async (exit) => {
      pooled.reservation.release();
      await hearLastWords([process.frames, process.stdout, process.stderr], this.#options.clock);
      // What was postponed comes first.
      await immediate();
      const { reason, error } = describeExit(exit, language, revision.spec.memory, replica.lastStderr);
      replica.end(reason, error);
    });
    replica.specialise(
      { socket: process.frames, kill: () => endProcess(pooled) },
      {
        code: Buffer.from(code),
        module: language === "nodejs" ? this.#moduleKind(revision, code) : undefined,
        concurrency: revision.spec.concurrency,
        runtimeVersion: this.#entry(revision.spec.runtime).installed.version,
        fromPool,
        startMs: fromPool ? 0 : startMs,
      },
    );
    process.stdout.resume();
    process.stderr.resume();
    process.frames.resume();
  }

  #moduleKind(revision: RevisionRef, code: string): "commonjs" | "esm" {
    let kind = this.#moduleKinds.get(revision);
    if (kind === undefined) {
      kind = detectModuleKind(code);
      this.#moduleKinds.set(revision, kind);
    }
    return kind;
  }

  #startWaiting(replicaClass: ReplicaClass, urgent: boolean, id = this.#newId(replicaClass.runtime)): Promise<WaitingReplica> {
    // Planned outside the gate: Go's first plan waits until its tools are made.
    const planned = this.#plan(replicaClass, id);
    return planned.then((plan) => this.#gate.run(urgent, () => this.#startProcess(plan, replicaClass, id)));
  }

  async #startProcess(plan: ProcessPlan, replicaClass: ReplicaClass, id: string): Promise<WaitingReplica> {
    const { runtime, memoryMiB } = replicaClass;
    const { clock } = this.#options;
    try {
      const process = await this.#spawn(plan, replicaClass, id);
      const waiting = await awaitHello({ process, functionFolder: plan.functionFolder, runtime, memoryMiB }, clock, HELLO_TIMEOUT_MS);
      this.#notStarting.delete(runtime);
      return waiting;
    } catch (error) {
      if (error instanceof RuntimeNotStarted && !this.#stopping) this.#notStarting.add(runtime);
      throw error;
    }
  }

  async #spawn(plan: ProcessPlan, { runtime, memoryMiB, network }: ReplicaClass, id: string): Promise<SandboxedProcess> {
    const { command, environment, binds } = plan;
    const spawning = this.#options.sandbox.spawn({ id, command, environment, memoryMiB, network, binds });
    const process = await spawning.catch((error: unknown) => {
      throw error instanceof KsError ? error : new RuntimeNotStarted(runtime, (error as Error).message, error);
    });
    const { functionFolder } = plan;
    if (functionFolder !== undefined) void process.exited.then(() => this.#options.go?.release(functionFolder));
    return process;
  }

  async #plan(replicaClass: ReplicaClass, id: string): Promise<ProcessPlan> {
    const entry = this.#entry(replicaClass.runtime);
    const { sandbox, runtimesFolder, python } = this.#options;
    const stage = (source: string): Promise<{ source: string; target: string }> => sandbox.stage(source);
    const { language } = entry.info;
    if (language === "nodejs") return planNode(entry.installed, replicaClass.memoryMiB, join(runtimesFolder, "nodejs"), stage);
    if (language === "python") return planPython(entry.installed, await python.get(entry.installed), stage);
    return this.#requireGo().planLauncher(id);
  }

  #startFailed(replica: FrameReplica, error: unknown): void {
    const known =
      error instanceof KsError
        ? error
        : new KsError("INTERNAL", { message: `Internal server error: ${(error as Error).message}`, cause: error });
    if (known instanceof RuntimeNotStarted) this.#options.onStartFailed(known, this.#classOf(replica.revision));
    replica.end(known.code === "FUNCTION_FAILED" ? "failed" : "crashed", known);
  }
}

function endProcess({ waiting, reservation }: PooledReplica): void {
  reservation.leave();
  waiting.process.kill();
}
