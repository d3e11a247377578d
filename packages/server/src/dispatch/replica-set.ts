import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { RuntimeNotStarted } from "../instances/runtime-not-started.ts";
import type { CodeSource, Dispensable, Replica, ReplicaProvider, RevisionRef } from "../instances/port.ts";
import type { ScaleDecision, ScalingPolicy } from "../scaling/decide.ts";
import type { ScalingRecord, ScalingView } from "../scaling/history.ts";
import { FunctionScaler } from "./function-scaler.ts";
import { drainReplica, type Slot, SlotList } from "./slots.ts";

const FIRST_START_BACKOFF_MS = 200;
const MAX_START_BACKOFF_MS = 30_000;

/** Limits of a function that take effect at once, without new replicas. */
export interface ScaleBounds {
  minReplicas: number;
  maxReplicas: number;
}

/** What serves: a revision, and where its code is. */
export interface Served {
  revision: RevisionRef;
  code: CodeSource;
}

export interface ReplicaSetOptions {
  clock: Clock;
  provider: ReplicaProvider;
  policy: ScalingPolicy;
}

/** The calls that the replicas are for. */
export interface Demand {
  /** Calls that wait for a place. */
  readonly queued: number;
  /** There may be free places now. */
  onPlaces(): void;
  /** No replica is there, and none can be had. */
  onNoReplica(error: KsError): void;
}

/**
 * One function's replicas: starts as many as its calls need, takes them away when they need them no more.
 * Its lists change only here and without awaits between look and change, so no race passes `maxReplicas`.
 */
export class ReplicaSet {
  readonly #clock: Clock;
  readonly #provider: ReplicaProvider;
  readonly #demand: Demand;
  readonly #slots = new SlotList();
  readonly #scaler: FunctionScaler;
  #served: Served | undefined;
  #bounds: ScaleBounds;
  #inFlight = 0;
  #desired = 0;
  #closed = false;
  /** A build is under way, which may take the last replica's place: calls wait for what comes of it. */
  #expecting = false;
  /** From the second on, a start that failed holds back the next one, so that broken code does not burn the machine. */
  #startFailures = 0;
  #noStartBeforeMs = 0;
  #retryTimer: Timer | undefined;
  /** Why the last replica that was wanted could not be had, until one is ready. */
  #obstacle: KsError | undefined;

  constructor(bounds: ScaleBounds, { clock, provider, policy }: ReplicaSetOptions, demand: Demand) {
    this.#clock = clock;
    this.#provider = provider;
    this.#demand = demand;
    this.#bounds = bounds;
    this.#scaler = new FunctionScaler(clock, policy);
  }

  /** Calls within replicas, those that have left the list included. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Replicas that accept calls, starting ones included. */
  get size(): number {
    return this.#slots.size;
  }

  get ready(): number {
    return this.#slots.ready;
  }

  get lastActiveMs(): number {
    return this.#scaler.lastActiveMs;
  }

  get served(): Served | undefined {
    return this.#served;
  }

  get maxReplicas(): number {
    return this.#bounds.maxReplicas;
  }

  /** Why it has no more replicas, where its own limit is not the reason. */
  get obstacle(): KsError | undefined {
    return this.#slots.size < this.#bounds.maxReplicas || this.#slots.ready === 0 ? this.#obstacle : undefined;
  }

  /** True while the scaler has something to decide. */
  get active(): boolean {
    return this.#slots.size > 0 || this.#demand.queued > 0 || (this.#bounds.minReplicas > 0 && this.#served !== undefined);
  }

  // Places

  /** hot */
  findFree(): Slot | undefined {
    return this.#served === undefined ? undefined : this.#slots.findFree(this.#served.revision.spec.concurrency);
  }

  /** hot: a call takes a place. */
  enter(slot: Slot): void {
    slot.inFlight++;
    slot.used = true;
    this.#inFlight++;
  }

  /** hot: a call gives its place back. */
  leave(slot: Slot): void {
    slot.inFlight--;
    this.#inFlight--;
    if (slot.replica.readyInfo !== undefined) this.#startFailures = 0;
    if (!slot.replica.accepting && slot.listed) this.#lose(slot);
  }

  /** hot: what runs and waits has changed. */
  noteLoad(nowMs: number): void {
    this.#scaler.noteLoad(this.#inFlight + this.#demand.queued, nowMs);
  }

  /** hot: a call, or its wait for a place, has ended. */
  noteEnd(nowMs: number): void {
    this.#scaler.lastActiveMs = nowMs;
    this.noteLoad(nowMs);
  }

  // Revisions

  /** Limits that apply in place. */
  setBounds(bounds: ScaleBounds): void {
    this.#bounds = bounds;
    this.evaluate();
  }

  /**
   * Makes a revision current at once, with its limits: new calls go to its replicas, the old ones drain.
   * `warm` are replicas of it that are ready.
   */
  serve(served: Served, warm: readonly Replica[]): void {
    const old = this.#slots.list();
    this.#served = served;
    this.#bounds = served.revision.spec;
    this.#expecting = false;
    this.#startFailures = 0;
    this.#noStartBeforeMs = 0;
    this.#obstacle = undefined;
    for (const slot of old) this.#slots.drain(slot);
    for (const replica of warm) {
      if (this.#slots.size < this.#bounds.maxReplicas) this.#list(replica, served.revision);
      else drainReplica(replica);
    }
    if (old.length > 0 || warm.length > 0) this.#scaler.lastActiveMs = this.#clock.monotonicMs();
    this.#reconsider();
  }

  /** A build begins: while none can be had, calls wait for what comes of it. */
  expect(): void {
    this.#expecting = true;
  }

  /** Nothing came of the build: what served before goes on. */
  expectNoMore(): void {
    if (!this.#expecting) return;
    this.#expecting = false;
    this.#reconsider();
  }

  /** Starts no more, and resolves when the calls within have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const slot of this.#slots.list()) this.#slots.drain(slot);
    await this.#slots.allGone();
  }

  /** Starts no more, and gives no replica a call any more. */
  retire(drains: boolean): void {
    this.#closed = true;
    for (const slot of this.#slots.list()) {
      if (drains) this.#slots.drain(slot);
      else this.#slots.unlist(slot);
    }
  }

  // Scaling

  /** A call is on its way: from zero, a replica is started before the body has come. */
  warm(): void {
    if (this.#slots.size > 0 || this.#closed) return;
    this.#scaler.lastActiveMs = this.#clock.monotonicMs();
    this.#scaleTo(1, "no-free-slot", undefined);
  }

  /** A call found no free place: asks for what the queue needs, counting what is under way. */
  poke(): void {
    if (this.#served === undefined || this.#demand.queued === 0) return;
    const { concurrency } = this.#served.revision.spec;
    const { starting, freeSlots, heldByStarting } = this.#slots.count(concurrency);
    // Calls already given to replicas that start hold places there.
    const queued = this.#demand.queued + heldByStarting;
    const decision = this.#scaler.decidePoke({ replicas: this.#slots.size, ...this.#bounds, concurrency, starting, freeSlots, queued });
    if (decision.desired > this.#slots.size) this.#scaleTo(decision.desired, decision.reason, undefined);
  }

  /** One decision of the scaler. */
  evaluate(): void {
    if (this.#served === undefined || this.#closed) return;
    const decision = this.#scaler.decide({
      replicas: this.#slots.size,
      ...this.#bounds,
      concurrency: this.#served.revision.spec.concurrency,
      readyReplicas: this.#slots.ready,
      inFlight: this.#inFlight,
      queued: this.#demand.queued,
    });
    this.#scaleTo(decision.desired, decision.reason, decision);
    if (this.#slots.size === 0 && this.#demand.queued === 0) this.#scaler.forgetLoad();
  }

  /** Those that serve nothing, above `minReplicas`. */
  idle(): Dispensable[] {
    if (this.#demand.queued > 0) return [];
    const spare = Math.max(0, this.#slots.size - this.#bounds.minReplicas);
    return this.#slots.findIdle(spare).map((slot) => this.#dispensable(slot, "idle"));
  }

  /** Those that serve, the least busy first: they may go, busy or not, for the revision that is to follow them. */
  yielding(): Dispensable[] {
    return this.#slots.readyByLoad().map((slot) => this.#dispensable(slot, "gave-way"));
  }

  scaling(): ScalingView {
    return {
      replicas: this.#slots.size,
      desired: this.#desired,
      min: this.#bounds.minReplicas,
      max: this.#bounds.maxReplicas,
      inFlight: this.#inFlight,
      queued: this.#demand.queued,
      decisions: this.#scaler.decisions(),
    };
  }

  #reconsider(): void {
    this.evaluate();
    this.poke();
    this.#demand.onPlaces();
  }

  #dispensable(slot: Slot, reason: ScalingRecord["reason"]): Dispensable {
    const giveUp = (): void => {
      this.#record(this.#slots.size, this.#slots.size - 1, reason, undefined);
      this.#slots.drain(slot);
    };
    return { replica: slot.replica, giveUp };
  }

  #scaleTo(desired: number, reason: ScalingRecord["reason"], decision: ScaleDecision | undefined): void {
    const from = this.#slots.size;
    this.#desired = desired;
    while (this.#slots.size < desired && this.#start());
    for (let surplus = from - desired; surplus > 0; surplus--) {
      const least = this.#slots.findLeastBusy();
      if (least !== undefined) this.#slots.drain(least);
    }
    if (this.#slots.size !== from) this.#record(from, this.#slots.size, reason, decision);
  }

  /** Starts one replica; false when none can be had now. */
  #start(): boolean {
    if (this.#served === undefined) return false;
    if (this.#clock.monotonicMs() < this.#noStartBeforeMs) return this.#startLater();
    const { revision, code } = this.#served;
    try {
      this.#list(this.#provider.startReplica(revision, code, "serve"), revision);
      return true;
    } catch (error) {
      if (!(error instanceof KsError)) throw error;
      this.#obstacle = error;
      if (this.#slots.size === 0 && !this.#expecting) this.#demand.onNoReplica(error);
      return false;
    }
  }

  /** Within the back-off after a failed start: tried again when it is over, if calls still wait. */
  #startLater(): false {
    if (this.#retryTimer !== undefined) return false;
    this.#retryTimer = this.#clock.setTimer(this.#noStartBeforeMs - this.#clock.monotonicMs() + 1, () => {
      this.#retryTimer = undefined;
      if (this.#closed) return;
      this.poke();
      this.#demand.onPlaces();
    });
    return false;
  }

  #list(replica: Replica, revision: RevisionRef): void {
    const slot = this.#slots.add(replica, revision);
    replica.ready.then(
      () => {
        this.#obstacle = undefined;
        this.#demand.onPlaces();
      },
      (error: KsError) => this.#startFailed(slot, error),
    );
    void replica.exited.then(() => this.#exited(slot));
  }

  #startFailed(slot: Slot, error: KsError): void {
    const isPlatforms = error instanceof RuntimeNotStarted;
    if (isPlatforms) this.#obstacle = error;
    if (!slot.listed) return;
    this.#lose(slot);
    // Calls wait on; the next start is tried when this one is gone.
    if (this.#slots.size === 0 && !isPlatforms) this.#demand.onNoReplica(error);
  }

  #exited(slot: Slot): void {
    if (slot.listed) this.#lose(slot);
    if (this.#closed) return;
    if (this.#slots.size < this.#bounds.minReplicas) this.evaluate();
    this.poke();
  }

  /** It takes no more calls, though nobody asked it to go. */
  #lose(slot: Slot): void {
    this.#slots.unlist(slot);
    if (slot.replica.readyInfo === undefined || !slot.used) this.#holdBackStarts();
  }

  /** The first failure may be chance; several that failed together are one. */
  #holdBackStarts(): void {
    if (this.#clock.monotonicMs() < this.#noStartBeforeMs) return;
    const backoffMs = this.#startFailures === 0 ? 0 : FIRST_START_BACKOFF_MS * 2 ** (this.#startFailures - 1);
    this.#startFailures++;
    this.#noStartBeforeMs = this.#clock.monotonicMs() + Math.min(MAX_START_BACKOFF_MS, backoffMs);
  }

  #record(from: number, to: number, reason: ScalingRecord["reason"], decision: ScaleDecision | undefined): void {
    this.#scaler.record({ from, to, reason, inFlight: this.#inFlight, queued: this.#demand.queued }, decision);
  }
}
