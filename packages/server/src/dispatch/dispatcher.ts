import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { CodeSource, Replica, ReplicaProvider, RevisionRef } from "../instances/port.ts";
import type { ScaleDecision, ScalingPolicy } from "../scaling/decide.ts";
import type { ScalingRecord, ScalingView } from "../scaling/history.ts";
import type { Call } from "./call.ts";
import { CallQueue, type QueueLimits } from "./call-queue.ts";
import { FunctionScaler } from "./function-scaler.ts";
import { refuseOverloaded, refuseWaited } from "./refusals.ts";
import { drainReplica, type Slot, SlotList } from "./slots.ts";

/** A replica gives back at most so many times what it had not begun; then the call fails with the cause. */
const MAX_RETURNS = 3;
const FIRST_START_BACKOFF_MS = 200;
const MAX_START_BACKOFF_MS = 30_000;

/** Limits of a function that take effect at once, without new replicas. */
export interface ScaleBounds {
  minReplicas: number;
  maxReplicas: number;
}

export interface DispatcherOptions {
  clock: Clock;
  provider: ReplicaProvider;
  queueLimits: QueueLimits;
  /** How long a call waits for a place. */
  queueTimeoutMs: number;
  policy: ScalingPolicy;
  /** Every attempt, when it ends; `error` undefined for a response. */
  onCallEnded(call: Call, error: KsError | undefined): void;
}

/** What serves: a revision, and where its code is. */
export interface Served {
  revision: RevisionRef;
  code: CodeSource;
}

/**
 * One function's calls and replicas: gives each call a free slot or a place in the queue, asks for replicas, takes
 * them away. Its lists change only here and without awaits between look and change, so no race passes `maxReplicas`.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #queue: CallQueue;
  readonly #slots = new SlotList();
  readonly #scaler: FunctionScaler;
  #served: Served | undefined;
  #bounds: ScaleBounds;
  #inFlight = 0;
  #desired = 0;
  #queueTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  /** Why no revision is good, while none serves. */
  #failure: KsError | undefined;
  #closed: KsError | undefined;
  /** A build is under way, which may take the last replica's place: calls wait for what comes of it. */
  #expecting = false;
  /** From the second on, a start that failed holds back the next one, so that broken code does not burn the machine. */
  #startFailures = 0;
  #noStartBeforeMs = 0;

  constructor(bounds: ScaleBounds, options: DispatcherOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#bounds = bounds;
    this.#queue = new CallQueue(options.queueLimits);
    this.#scaler = new FunctionScaler(options.clock, options.policy);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Replicas that accept calls, starting ones included. */
  get replicas(): number {
    return this.#slots.size;
  }

  get readyReplicas(): number {
    return this.#slots.ready;
  }

  get lastActiveMs(): number {
    return this.#scaler.lastActiveMs;
  }

  /** True while the scaler has something to decide. */
  get active(): boolean {
    return this.#slots.size > 0 || this.#queue.size > 0 || (this.#bounds.minReplicas > 0 && this.#served !== undefined);
  }

  // Calls

  /** A call is on its way: from zero, a replica is started before the body has come. */
  warm(): void {
    if (this.#slots.size > 0 || this.#closed !== undefined) return;
    this.#scaler.lastActiveMs = this.#clock.monotonicMs();
    this.#scaleTo(1, "no-free-slot", undefined);
  }

  /** hot: runs the call in a free slot, or queues it, or answers why not. */
  submit(call: Call): void {
    const refusal = this.#closed ?? this.#failure;
    if (refusal !== undefined) return this.#reject(call, refusal);
    const slot = this.#queue.size === 0 ? this.#findFree() : undefined;
    if (slot !== undefined) this.#send(call, slot);
    else this.#enqueue(call);
  }

  abandon(call: Call): void {
    if (call.ended || call.abandoned) return;
    call.abandoned = true;
    if (this.#queue.remove(call)) this.#end(call, new KsError("CLIENT_CLOSED"));
    else call.handle?.cancel();
  }

  /** hot: the handler has answered, its stream may go on. */
  noteHead(call: Call): void {
    const ready = call.slot?.replica.readyInfo;
    if (ready === undefined || ready.atMs < call.times.arrivedAtMs) return;
    call.times.cold = true;
    call.times.startMs = ready.startMs;
    call.times.loadMs = ready.loadMs;
  }

  /** hot */
  callEnded(call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    if (!call.hasHead) this.noteHead(call);
    this.#leaveSlot(call);
    this.#end(call, call.refusal ?? (call.abandoned ? new KsError("CLIENT_CLOSED") : error));
    if (this.#queue.size === 0) return;
    if (call.slot?.listed === false) this.#poke();
    this.#drainQueue();
  }

  /** A replica had not begun the call: it goes back to the head of the queue. */
  callReturned(call: Call, cause: KsError): void {
    this.#leaveSlot(call);
    call.slot = undefined;
    if (call.abandoned) this.#end(call, new KsError("CLIENT_CLOSED"));
    else if (++call.returns > MAX_RETURNS) this.#reject(call, cause);
    else if (this.#closed !== undefined) this.#reject(call, this.#closed);
    else this.#queue.unshift(call);
    if (this.#queue.size === 0) return;
    this.#poke();
    this.#drainQueue();
    this.#armQueueTimer();
  }

  /** Answers what waits for a place; what runs goes on. */
  rejectQueued(error: KsError): void {
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) this.#reject(call, error);
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
    this.#failure = undefined;
    this.#expecting = false;
    this.#startFailures = 0;
    this.#noStartBeforeMs = 0;
    for (const slot of old) this.#slots.drain(slot);
    for (const replica of warm) {
      if (this.#slots.size < this.#bounds.maxReplicas) this.#list(replica, served.revision);
      else drainReplica(replica);
    }
    if (old.length > 0 || warm.length > 0) this.#scaler.lastActiveMs = this.#clock.monotonicMs();
    this.evaluate();
    if (this.#queue.size > 0) this.#poke();
    this.#drainQueue();
  }

  /** No revision is good: what waits is told why. Does nothing while an older one serves. */
  fail(error: KsError): void {
    if (this.#served !== undefined) return;
    this.#failure = error;
    this.rejectQueued(error);
  }

  /** A new attempt to build: calls wait for it. */
  expect(): void {
    this.#failure = undefined;
    this.#expecting = true;
  }

  /** Nothing came of the build: what served before goes on. */
  expectNoMore(): void {
    if (!this.#expecting) return;
    this.#expecting = false;
    this.evaluate();
    if (this.#queue.size > 0) this.#poke();
    this.#drainQueue();
  }

  /** Takes no more calls, answers those that wait, and resolves when those within have ended. */
  async close(error: KsError): Promise<void> {
    this.#closed = error;
    this.rejectQueued(error);
    for (const slot of this.#slots.list()) this.#slots.drain(slot);
    await this.#slots.allGone();
  }

  // Scaling

  /** One decision of the scaler. */
  evaluate(): void {
    if (this.#served === undefined || this.#closed !== undefined) return;
    const decision = this.#scaler.decide({
      replicas: this.#slots.size,
      ...this.#bounds,
      concurrency: this.#served.revision.spec.concurrency,
      readyReplicas: this.#slots.ready,
      inFlight: this.#inFlight,
      queued: this.#queue.size,
    });
    this.#scaleTo(decision.desired, decision.reason, decision);
    if (this.#slots.size === 0 && this.#queue.size === 0) this.#scaler.forgetLoad();
  }

  /** Gives up one replica that serves nothing, above `minReplicas`; undefined when there is none. */
  giveUpIdle(): Replica | undefined {
    if (this.#queue.size > 0 || this.#slots.size <= this.#bounds.minReplicas) return undefined;
    const idle = this.#slots.findIdle();
    if (idle === undefined) return undefined;
    this.#record(this.#slots.size, this.#slots.size - 1, "idle", undefined);
    this.#slots.drain(idle);
    return idle.replica;
  }

  /** Takes one replica away, busy or not, for the one that is to follow it; undefined when there is none. */
  giveWay(): Replica | undefined {
    const least = this.#slots.findLeastBusy();
    if (least?.replica.readyInfo === undefined) return undefined;
    this.#record(this.#slots.size, this.#slots.size - 1, "gave-way", undefined);
    this.#slots.drain(least);
    return least.replica;
  }

  scaling(): ScalingView {
    return {
      replicas: this.#slots.size,
      desired: this.#desired,
      min: this.#bounds.minReplicas,
      max: this.#bounds.maxReplicas,
      inFlight: this.#inFlight,
      queued: this.#queue.size,
      decisions: this.#scaler.decisions(),
    };
  }

  #findFree(): Slot | undefined {
    return this.#served === undefined ? undefined : this.#slots.findFree(this.#served.revision.spec.concurrency);
  }

  #send(call: Call, slot: Slot): void {
    const nowMs = this.#clock.monotonicMs();
    call.slot = slot;
    call.times.sentAtMs = nowMs;
    call.times.revision = slot.revision.revision;
    slot.inFlight++;
    slot.used = true;
    this.#inFlight++;
    this.#scaler.noteLoad(this.#inFlight + this.#queue.size, nowMs);
    call.handle = slot.replica.call(call.head, call.body, call);
  }

  #leaveSlot({ slot }: Call): void {
    if (slot === undefined) return;
    slot.inFlight--;
    this.#inFlight--;
    if (slot.replica.readyInfo !== undefined) this.#startFailures = 0;
    if (!slot.replica.accepting && slot.listed) this.#lose(slot);
  }

  /** It takes no more calls, though nobody asked it to go. */
  #lose(slot: Slot): void {
    this.#slots.unlist(slot);
    if (slot.replica.readyInfo === undefined || !slot.used) this.#holdBackStarts();
  }

  #enqueue(call: Call): void {
    if (!this.#queue.push(call)) return this.#reject(call, refuseOverloaded(this.#queue));
    this.#scaler.noteLoad(this.#inFlight + this.#queue.size, this.#clock.monotonicMs());
    this.#poke();
    // A replica that starts takes calls at once: they go out right behind its SPECIALISE.
    this.#drainQueue();
    this.#armQueueTimer();
  }

  #drainQueue(): void {
    while (this.#queue.size > 0) {
      const slot = this.#findFree();
      const call = slot === undefined ? undefined : this.#queue.shift();
      if (slot === undefined || call === undefined) return;
      this.#send(call, slot);
    }
  }

  #armQueueTimer(): void {
    if (this.#queueTimer !== undefined) return;
    const oldest = this.#queue.peek();
    if (oldest === undefined) return;
    const dueMs = oldest.times.arrivedAtMs + this.#options.queueTimeoutMs;
    this.#queueTimer = this.#clock.setTimer(dueMs - this.#clock.monotonicMs(), () => {
      this.#queueTimer = undefined;
      this.#expireQueue();
      this.#armQueueTimer();
    });
  }

  #expireQueue(): void {
    const { queueTimeoutMs } = this.#options;
    const beforeMs = this.#clock.monotonicMs() - queueTimeoutMs + 1;
    for (let oldest = this.#queue.peek(); oldest !== undefined && oldest.times.arrivedAtMs <= beforeMs; oldest = this.#queue.peek()) {
      this.#queue.shift();
      const concurrency = this.#served?.revision.spec.concurrency ?? 0;
      const figures = {
        queueTimeoutMs,
        inFlight: this.#inFlight,
        replicas: this.#slots.size,
        maxReplicas: this.#bounds.maxReplicas,
        concurrency,
      };
      this.#reject(oldest, refuseWaited(figures));
    }
  }

  #reject(call: Call, error: KsError): void {
    this.#end(call, error);
    if (!call.abandoned) call.receiver.onFailed(call, error);
  }

  #end(call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    call.ended = true;
    const nowMs = this.#clock.monotonicMs();
    this.#scaler.lastActiveMs = nowMs;
    this.#scaler.noteLoad(this.#inFlight + this.#queue.size, nowMs);
    this.#options.onCallEnded(call, error);
  }

  #list(replica: Replica, revision: RevisionRef): void {
    const slot = this.#slots.add(replica, revision);
    replica.ready.then(
      () => this.#drainQueue(),
      (error: KsError) => this.#startFailed(slot, error),
    );
    void replica.exited.then(() => this.#exited(slot));
  }

  #startFailed(slot: Slot, error: KsError): void {
    if (!slot.listed) return;
    this.#lose(slot);
    if (this.#slots.size === 0) this.rejectQueued(error);
  }

  /** The first failure may be chance. */
  #holdBackStarts(): void {
    const backoffMs = this.#startFailures === 0 ? 0 : FIRST_START_BACKOFF_MS * 2 ** (this.#startFailures - 1);
    this.#startFailures++;
    this.#noStartBeforeMs = this.#clock.monotonicMs() + Math.min(MAX_START_BACKOFF_MS, backoffMs);
  }

  #exited(slot: Slot): void {
    if (slot.listed) this.#lose(slot);
    if (this.#closed !== undefined) return;
    if (this.#slots.size < this.#bounds.minReplicas) this.evaluate();
    if (this.#queue.size > 0) this.#poke();
  }

  /** A call found no free slot: asks for what the queue needs, counting what is under way. */
  #poke(): void {
    if (this.#served === undefined) return;
    const { concurrency } = this.#served.revision.spec;
    const { starting, freeSlots, heldByStarting } = this.#slots.count(concurrency);
    // Calls already given to replicas that start hold places there.
    const queued = this.#queue.size + heldByStarting;
    const decision = this.#scaler.decidePoke({ replicas: this.#slots.size, ...this.#bounds, concurrency, starting, freeSlots, queued });
    if (decision.desired > this.#slots.size) this.#scaleTo(decision.desired, decision.reason, undefined);
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
      this.#list(this.#options.provider.startReplica(revision, code, "serve"), revision);
      return true;
    } catch (error) {
      if (!(error instanceof KsError)) throw error;
      if (this.#slots.size === 0 && !this.#expecting) this.rejectQueued(error);
      return false;
    }
  }

  /** Within the back-off after a failed start: tried again when it is over, if calls still wait. */
  #startLater(): false {
    if (this.#retryTimer !== undefined) return false;
    this.#retryTimer = this.#clock.setTimer(this.#noStartBeforeMs - this.#clock.monotonicMs() + 1, () => {
      this.#retryTimer = undefined;
      if (this.#queue.size === 0 || this.#closed !== undefined) return;
      this.#poke();
      this.#drainQueue();
    });
    return false;
  }

  #record(from: number, to: number, reason: ScalingRecord["reason"], decision: ScaleDecision | undefined): void {
    this.#scaler.record({ from, to, reason, inFlight: this.#inFlight, queued: this.#queue.size }, decision);
  }
}
