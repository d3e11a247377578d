import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { CodeSource, Replica, ReplicaProvider, RevisionRef } from "../instances/port.ts";
import { ConcurrencyWindow } from "../scaling/concurrency-window.ts";
import {
  decidePoke,
  decideReplicas,
  DEFAULT_SCALING_POLICY,
  INITIAL_SCALE_STATE,
  type ScaleDecision,
  type ScaleState,
  type ScalingPolicy,
} from "../scaling/decide.ts";
import { ScalingHistory, type ScalingRecord, type ScalingView } from "../scaling/history.ts";
import type { Call } from "./call.ts";
import { CallQueue, type QueueLimits } from "./call-queue.ts";

/** A replica gives back at most so many times what it had not begun; then the call fails with the cause. */
const MAX_RETURNS = 3;
/** A stream may run on so long after its replica was asked to drain. */
const STREAM_GRACE_MS = 30_000;

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

/** A replica in the list, with the calls it was given. */
export interface Slot {
  readonly replica: Replica;
  readonly revision: RevisionRef;
  inFlight: number;
  listed: boolean;
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
  readonly #queue: CallQueue;
  readonly #slots: Slot[] = [];
  /** Replicas out of the list whose processes are not gone yet. */
  readonly #leaving = new Set<Replica>();
  readonly #history = new ScalingHistory();
  #served: Served | undefined;
  #bounds: ScaleBounds;
  #inFlight = 0;
  #window: ConcurrencyWindow | undefined;
  #scaleState: ScaleState = INITIAL_SCALE_STATE;
  #desired = 0;
  #lastActiveMs = 0;
  #queueTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  /** Set while the function waits for its first good revision, with what calls are told when it fails. */
  #failure: KsError | undefined;
  #closed: KsError | undefined;
  /** A start that failed holds back the next one, so that broken code does not burn the machine. */
  #startFailures = 0;
  #noStartBeforeMs = 0;

  constructor(bounds: ScaleBounds, options: DispatcherOptions) {
    this.#options = options;
    this.#bounds = bounds;
    this.#queue = new CallQueue(options.queueLimits);
    this.#lastActiveMs = options.clock.monotonicMs();
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** Replicas that accept calls, starting ones included. */
  get replicas(): number {
    return this.#slots.length;
  }

  get readyReplicas(): number {
    let ready = 0;
    for (const slot of this.#slots) if (slot.replica.readyInfo !== undefined) ready++;
    return ready;
  }

  get served(): Served | undefined {
    return this.#served;
  }

  get lastActiveMs(): number {
    return this.#lastActiveMs;
  }

  /** True while the scaler has something to decide. */
  get active(): boolean {
    return this.#slots.length > 0 || this.#queue.size > 0 || (this.#bounds.minReplicas > 0 && this.#served !== undefined);
  }

  /** A call is on its way: from zero, a replica is started before the body has come. */
  warm(): void {
    if (this.#slots.length === 0 && this.#served !== undefined && this.#closed === undefined) this.#start("no-free-slot");
  }

  /** hot: runs the call in a free slot, or queues it, or answers why not. */
  submit(call: Call): void {
    if (this.#closed !== undefined) return this.#reject(call, this.#closed);
    if (this.#served === undefined && this.#failure !== undefined) return this.#reject(call, this.#failure);
    const slot = this.#queue.size === 0 ? this.#freeSlot() : undefined;
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
    const { slot } = call;
    if (!call.hasHead) this.noteHead(call);
    if (slot !== undefined) {
      slot.inFlight--;
      this.#inFlight--;
      if (!slot.replica.accepting) this.#unlist(slot);
    }
    this.#end(call, call.abandoned ? new KsError("CLIENT_CLOSED") : error);
    this.#drainQueue();
  }

  /** A replica had not begun the call: it goes back to the head of the queue. */
  callReturned(call: Call, cause: KsError): void {
    const { slot } = call;
    if (slot !== undefined) {
      slot.inFlight--;
      this.#inFlight--;
      if (!slot.replica.accepting) this.#unlist(slot);
      call.slot = undefined;
    }
    if (call.abandoned) return this.#end(call, new KsError("CLIENT_CLOSED"));
    if (++call.returns > MAX_RETURNS) return this.#reject(call, cause);
    if (this.#closed !== undefined) return this.#reject(call, this.#closed);
    this.#queue.unshift(call);
    this.#poke();
    this.#drainQueue();
    this.#armQueueTimer();
  }

  /** Limits that apply in place. */
  setBounds(bounds: ScaleBounds): void {
    this.#bounds = bounds;
    if (this.#served !== undefined) this.evaluate();
  }

  /**
   * Makes a revision current at once: new calls go to its replicas, the old ones drain.
   * `warm` are replicas of it that are ready.
   */
  serve(served: Served, warm: readonly Replica[]): void {
    const old = [...this.#slots];
    this.#served = served;
    this.#failure = undefined;
    this.#startFailures = 0;
    this.#noStartBeforeMs = 0;
    for (const slot of old) this.#drain(slot);
    for (const replica of warm) {
      if (this.#slots.length < this.#bounds.maxReplicas) this.#list(replica, served.revision);
      else drainReplica(replica);
    }
    if (old.length > 0 || warm.length > 0) this.#noteActive();
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

  /** A new attempt to build: calls wait again. */
  expect(): void {
    this.#failure = undefined;
  }

  /** Takes no more calls, answers those that wait, and resolves when those within have ended. */
  async close(error: KsError): Promise<void> {
    this.#closed = error;
    this.rejectQueued(error);
    for (const slot of [...this.#slots]) this.#drain(slot);
    await Promise.all([...this.#leaving].map((replica) => replica.exited));
  }

  /** Answers what waits for a place; what runs goes on. */
  rejectQueued(error: KsError): void {
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) this.#reject(call, error);
  }

  /** One decision of the scaler. */
  evaluate(): void {
    if (this.#served === undefined || this.#closed !== undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    const decision = decideReplicas(
      {
        replicas: this.#slots.length,
        ...this.#bounds,
        concurrency: this.#served.revision.spec.concurrency,
        readyReplicas: this.readyReplicas,
        inFlight: this.#inFlight,
        queued: this.#queue.size,
        load: this.#window?.summarise(nowMs) ?? { stable: 0, panic: 0, peak: 0 },
        lastActiveMs: this.#lastActiveMs,
        state: this.#scaleState,
      },
      nowMs,
      this.#options.policy,
    );
    this.#scaleState = decision.state;
    this.#scaleTo(decision.desired, decision.reason, decision);
    if (this.#slots.length === 0 && this.#queue.size === 0) this.#window = undefined;
  }

  /** Gives up one replica that serves nothing, above `minReplicas`; false when there is none. */
  giveUpIdle(): boolean {
    if (this.#queue.size > 0 || this.#slots.length <= this.#bounds.minReplicas) return false;
    const idle = this.#slots.find((slot) => slot.inFlight === 0 && slot.replica.readyInfo !== undefined);
    if (idle === undefined) return false;
    this.#record(this.#slots.length, this.#slots.length - 1, "idle", undefined);
    this.#drain(idle);
    return true;
  }

  scaling(): ScalingView {
    return {
      replicas: this.#slots.length,
      desired: this.#desired,
      min: this.#bounds.minReplicas,
      max: this.#bounds.maxReplicas,
      inFlight: this.#inFlight,
      queued: this.#queue.size,
      decisions: this.#history.list(),
    };
  }

  // --- slots

  /** hot: the slot with the fewest calls that has room. Ready ones first, then those that start. */
  #freeSlot(): Slot | undefined {
    let best: Slot | undefined;
    const concurrency = this.#served?.revision.spec.concurrency ?? 0;
    for (const slot of this.#slots) {
      if (slot.inFlight >= concurrency || !slot.replica.accepting) continue;
      if (best === undefined || rank(slot) < rank(best)) best = slot;
    }
    return best;
  }

  #send(call: Call, slot: Slot): void {
    const nowMs = this.#options.clock.monotonicMs();
    call.slot = slot;
    call.times.sentAtMs = nowMs;
    call.times.revision = slot.revision.revision;
    slot.inFlight++;
    this.#inFlight++;
    this.#noteLoad(nowMs);
    call.handle = slot.replica.call(call.head, call.body, call);
  }

  #list(replica: Replica, revision: RevisionRef): void {
    const slot: Slot = { replica, revision, inFlight: 0, listed: true };
    this.#slots.push(slot);
    replica.ready.then(
      () => this.#becameReady(),
      (error: KsError) => this.#startFailed(slot, error),
    );
    void replica.exited.then(() => this.#exited(slot));
  }

  #becameReady(): void {
    this.#startFailures = 0;
    this.#drainQueue();
  }

  #startFailed(slot: Slot, error: KsError): void {
    if (!slot.listed) return;
    this.#unlist(slot);
    this.#startFailures++;
    this.#noStartBeforeMs = this.#options.clock.monotonicMs() + Math.min(30_000, 100 * 2 ** this.#startFailures);
    if (this.#slots.length === 0) this.rejectQueued(error);
  }

  #exited(slot: Slot): void {
    this.#unlist(slot);
    if (this.#closed === undefined && this.#served !== undefined) {
      if (this.#slots.length < this.#bounds.minReplicas) this.evaluate();
      if (this.#queue.size > 0) this.#poke();
    }
  }

  #unlist(slot: Slot): void {
    if (!slot.listed) return;
    slot.listed = false;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    this.#leaving.add(slot.replica);
    void slot.replica.exited.then(() => this.#leaving.delete(slot.replica));
  }

  #drain(slot: Slot): void {
    this.#unlist(slot);
    drainReplica(slot.replica);
  }

  // --- queue

  #enqueue(call: Call): void {
    if (!this.#queue.push(call)) return this.#reject(call, this.#overloaded());
    this.#noteLoad(this.#options.clock.monotonicMs());
    if (this.#served !== undefined) this.#poke();
    // A replica that starts takes calls at once: they go out right behind its SPECIALISE.
    this.#drainQueue();
    this.#armQueueTimer();
  }

  #drainQueue(): void {
    while (this.#queue.size > 0) {
      const slot = this.#freeSlot();
      if (slot === undefined) return;
      const call = this.#queue.shift();
      if (call === undefined) return;
      this.#send(call, slot);
    }
  }

  #armQueueTimer(): void {
    if (this.#queueTimer !== undefined) return;
    const oldest = this.#queue.peek();
    if (oldest === undefined) return;
    const { clock, queueTimeoutMs } = this.#options;
    this.#queueTimer = clock.setTimer(oldest.times.arrivedAtMs + queueTimeoutMs - clock.monotonicMs(), () => {
      this.#queueTimer = undefined;
      this.#expireQueue();
      this.#armQueueTimer();
    });
  }

  #expireQueue(): void {
    const beforeMs = this.#options.clock.monotonicMs() - this.#options.queueTimeoutMs + 1;
    for (let oldest = this.#queue.peek(); oldest !== undefined && oldest.times.arrivedAtMs <= beforeMs; oldest = this.#queue.peek()) {
      this.#queue.shift();
      this.#reject(oldest, this.#waitedTooLong());
    }
  }

  #reject(call: Call, error: KsError): void {
    this.#end(call, error);
    if (!call.abandoned) call.receiver.onFailed(call, error);
  }

  #end(call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    call.ended = true;
    const nowMs = this.#options.clock.monotonicMs();
    this.#lastActiveMs = nowMs;
    this.#noteLoad(nowMs);
    this.#options.onCallEnded(call, error);
  }

  // --- scaling

  #noteLoad(nowMs: number): void {
    this.#window ??= new ConcurrencyWindow(nowMs);
    this.#window.record(this.#inFlight + this.#queue.size, nowMs);
  }

  #noteActive(): void {
    this.#lastActiveMs = this.#options.clock.monotonicMs();
  }

  #poke(): void {
    if (this.#served === undefined) return;
    const concurrency = this.#served.revision.spec.concurrency;
    let freeSlots = 0;
    let starting = 0;
    for (const slot of this.#slots) {
      if (slot.replica.readyInfo === undefined) starting++;
      else freeSlots += Math.max(0, concurrency - slot.inFlight);
    }
    // Calls already given to replicas that start hold places there.
    let held = 0;
    for (const slot of this.#slots) if (slot.replica.readyInfo === undefined) held += slot.inFlight;
    const decision = decidePoke(
      { replicas: this.#slots.length, ...this.#bounds, concurrency, starting, freeSlots, queued: this.#queue.size + held },
      this.#options.policy,
    );
    if (decision.desired > this.#slots.length) this.#scaleTo(decision.desired, decision.reason, undefined);
  }

  #scaleTo(desired: number, reason: ScalingRecord["reason"], decision: ScaleDecision | undefined): void {
    const from = this.#slots.length;
    this.#desired = desired;
    if (desired === from) return;
    if (desired > from) while (this.#slots.length < desired && this.#start(reason, false));
    else for (let count = from - desired; count > 0; count--) this.#removeOne();
    if (this.#slots.length !== from) this.#record(from, this.#slots.length, reason, decision);
  }

  #removeOne(): void {
    let least: Slot | undefined;
    for (const slot of this.#slots) if (least === undefined || slot.inFlight < least.inFlight) least = slot;
    if (least !== undefined) this.#drain(least);
  }

  /** Starts one replica; false when none can be had now. */
  #start(reason: ScalingRecord["reason"], record = true): boolean {
    if (this.#served === undefined || this.#options.clock.monotonicMs() < this.#noStartBeforeMs) return this.#startHeldBack();
    const { revision, code } = this.#served;
    let replica: Replica;
    try {
      replica = this.#options.provider.startReplica(revision, code, "serve");
    } catch (error) {
      if (!(error instanceof KsError)) throw error;
      if (this.#slots.length === 0) this.rejectQueued(error);
      return false;
    }
    this.#list(replica, revision);
    this.#desired = Math.max(this.#desired, this.#slots.length);
    if (record) this.#record(this.#slots.length - 1, this.#slots.length, reason, undefined);
    return true;
  }

  /** Within the back-off after a failed start: tried again when it is over, if calls still wait. */
  #startHeldBack(): boolean {
    const { clock } = this.#options;
    if (this.#served === undefined || this.#queue.size === 0) return false;
    this.#retryTimer ??= clock.setTimer(this.#noStartBeforeMs - clock.monotonicMs() + 1, () => {
      this.#retryTimer = undefined;
      if (this.#queue.size === 0 || this.#closed !== undefined) return;
      this.#poke();
      this.#drainQueue();
    });
    return false;
  }

  #record(from: number, to: number, reason: ScalingRecord["reason"], decision: ScaleDecision | undefined): void {
    this.#history.add({
      time: new Date(this.#options.clock.nowMs()).toISOString(),
      from,
      to,
      reason,
      inFlight: this.#inFlight,
      queued: this.#queue.size,
      ...(decision === undefined
        ? {}
        : {
            wanted: decision.wanted,
            stableConcurrency: decision.stableConcurrency,
            panicConcurrency: decision.panicConcurrency,
            peakConcurrency: decision.peakConcurrency,
            targetPerReplica: decision.targetPerReplica,
            panic: decision.panic,
          }),
    });
  }

  // --- answers

  #overloaded(): KsError {
    const { maxCalls, maxBytes } = this.#queue.limits;
    return new KsError("OVERLOADED", {
      message: `Too many calls are waiting for this function: ${this.#queue.size} of ${maxCalls} calls, ${this.#queue.bytes} of ${maxBytes} bytes`,
      retryAfterMs: 1000,
      details: { queued: this.#queue.size, maxQueued: maxCalls, queuedBytes: this.#queue.bytes, maxQueuedBytes: maxBytes },
    });
  }

  #waitedTooLong(): KsError {
    const { maxReplicas } = this.#bounds;
    const concurrency = this.#served?.revision.spec.concurrency ?? 0;
    const seconds = this.#options.queueTimeoutMs / 1000;
    return new KsError("NO_CAPACITY", {
      message: `No capacity: the call waited ${seconds} s for a place; ${this.#inFlight} calls run on ${this.#slots.length} of at most ${maxReplicas} replicas`,
      retryAfterMs: 1000,
      details: { queueTimeoutSeconds: seconds, replicas: this.#slots.length, maxReplicas, concurrency, inFlight: this.#inFlight },
    });
  }
}

/** Fewest calls first; what only starts comes after all that is ready. */
function rank(slot: Slot): number {
  return slot.replica.readyInfo === undefined ? slot.inFlight + 1_000_000 : slot.inFlight;
}

/** Calls within run to their own limit, streams a while longer. */
function drainReplica(replica: Replica): void {
  replica.drain(replica.revision.spec.timeout * 1000 + STREAM_GRACE_MS);
}

export function compileScalingPolicy(idleTimeoutMs: number): ScalingPolicy {
  return { ...DEFAULT_SCALING_POLICY, idleTimeoutMs };
}
