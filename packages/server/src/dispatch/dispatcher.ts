import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { RuntimeNotStarted } from "../instances/runtime-not-started.ts";
import type { Dispensable, Replica } from "../instances/port.ts";
import type { ScalingView } from "../scaling/history.ts";
import type { Call, CallEntrance } from "./call.ts";
import { CallQueue, type QueueLimits } from "./call-queue.ts";
import { refuseOverloaded, refuseWaited } from "./refusals.ts";
import { type Demand, ReplicaSet, type ReplicaSetOptions, type ScaleBounds, type Served } from "./replica-set.ts";
import type { Slot } from "./slots.ts";

/** A replica gives back at most so many times what it had not begun; then the call fails with the cause. */
const MAX_RETURNS = 3;

export interface DispatcherOptions extends ReplicaSetOptions {
  queueLimits: QueueLimits;
  /** How long a call waits for a place. */
  queueTimeoutMs: number;
  /** Every attempt, when it ends; `error` undefined for a response. */
  onCallEnded(call: Call, error: KsError | undefined): void;
}

/** One function's calls: each gets a free place in its replicas, or one in the queue, or is told why not. */
export class Dispatcher implements CallEntrance, Demand {
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #queue: CallQueue;
  readonly #replicas: ReplicaSet;
  /** Given to a replica that had not started then: until it has, they wait no less than those in the queue. */
  readonly #early = new Set<Call>();
  #waitTimer: Timer | undefined;
  /** Why no revision is good, while none serves. */
  #failure: KsError | undefined;
  #closed: KsError | undefined;
  /** Who takes what comes here though another gateway owns the function. */
  #handOn: ((calls: readonly Call[]) => void) | undefined;

  constructor(bounds: ScaleBounds, options: DispatcherOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#queue = new CallQueue(options.queueLimits);
    this.#replicas = new ReplicaSet(bounds, options, this);
  }

  // Calls

  get inFlight(): number {
    return this.#replicas.inFlight;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** hot: runs the call in a free place, or queues it, or answers why not. */
  submit(call: Call): void {
    const refusal = this.#closed ?? this.#failure;
    if (refusal !== undefined) return this.#refuse(call, refusal);
    const slot = this.#queue.size === 0 ? this.#replicas.findFree() : undefined;
    if (slot !== undefined) this.#send(call, slot);
    else this.#enqueue(call);
  }

  abandon(call: Call): void {
    if (call.ended || call.abandoned) return;
    call.abandoned = true;
    if (this.#queue.remove(call)) this.#end(call, new KsError("CLIENT_CLOSED"));
    else call.handle?.cancel();
  }

  noteHead(call: Call): void {
    const ready = call.slot?.replica.readyInfo;
    if (ready === undefined || ready.atMs < call.times.arrivedAtMs) return;
    call.times.cold = true;
    call.times.startMs = ready.startMs;
    call.times.loadMs = ready.loadMs;
    call.times.compileMs = ready.compileMs ?? 0;
  }

  callEnded(call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    if (!call.hasHead) this.noteHead(call);
    this.#leaveSlot(call);
    this.#end(call, call.refusal ?? (call.abandoned ? new KsError("CLIENT_CLOSED") : error));
    if (this.#queue.size === 0) return;
    if (call.slot?.listed === false) this.#replicas.poke();
    this.onPlaces();
  }

  callReturned(call: Call, cause: KsError): void {
    this.#leaveSlot(call);
    call.slot = undefined;
    if (call.abandoned) this.#end(call, call.refusal ?? new KsError("CLIENT_CLOSED"));
    else if (hasReturnedTooOften(call, cause)) this.#reject(call, cause);
    else if (this.#closed !== undefined) this.#refuse(call, this.#closed);
    else this.#queue.unshift(call);
    if (this.#queue.size === 0) return;
    this.#replicas.poke();
    this.onPlaces();
    this.#armWaitTimer();
  }

  /** Answers what waits for a place; what runs goes on. */
  rejectQueued(error: KsError): void {
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) this.#reject(call, error);
  }

  onPlaces(): void {
    while (this.#queue.size > 0) {
      const slot = this.#replicas.findFree();
      const call = slot === undefined ? undefined : this.#queue.shift();
      if (slot === undefined || call === undefined) return;
      this.#send(call, slot);
    }
  }

  onNoReplica(error: KsError): void {
    this.rejectQueued(error);
  }

  // Revisions

  /** Limits that apply in place. */
  setBounds(bounds: ScaleBounds): void {
    this.#replicas.setBounds(bounds);
  }

  /** Makes a revision current at once, with its limits; `warm` are replicas of it that are ready. */
  serve(served: Served, warm: readonly Replica[]): void {
    this.#failure = undefined;
    this.#replicas.serve(served, warm);
  }

  /** No revision is good: what waits is told why. Does nothing while an older one serves. */
  fail(error: KsError): void {
    if (this.#replicas.served !== undefined) return;
    this.#failure = error;
    this.rejectQueued(error);
  }

  /** A new attempt to build: calls wait for it. */
  expect(): void {
    this.#failure = undefined;
    this.#replicas.expect();
  }

  /** Nothing came of the build: what served before goes on. */
  expectNoMore(): void {
    this.#replicas.expectNoMore();
  }

  /** Takes no more calls, answers those that wait, and resolves when those within have ended. */
  async close(error: KsError): Promise<void> {
    this.#closed = error;
    this.rejectQueued(error);
    await this.#replicas.close();
  }

  /**
   * Another gateway owns the function from now on: nothing is started any more, calls within go on, and those that wait, or come
   * back, are handed on, oldest first. Replicas leave the list; they drain where nobody else takes them over.
   */
  retire(handOn: (waiting: readonly Call[]) => void, drains: boolean): void {
    this.#handOn = handOn;
    this.#closed = new KsError("NO_CAPACITY", { message: "Another gateway owns this function now", retryAfterMs: 1000 });
    const waiting: Call[] = [];
    for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) waiting.push(call);
    this.#replicas.retire(drains);
    handOn(waiting);
  }

  // Replicas, for those who see the function from outside

  /** Replicas that accept calls, starting ones included. */
  get replicas(): number {
    return this.#replicas.size;
  }

  get readyReplicas(): number {
    return this.#replicas.ready;
  }

  get lastActiveMs(): number {
    return this.#replicas.lastActiveMs;
  }

  /** True while the scaler has something to decide. */
  get active(): boolean {
    return this.#replicas.active;
  }

  /** A call is on its way: from zero, a replica is started before the body has come. */
  warm(): void {
    this.#replicas.warm();
  }

  /** One decision of the scaler. */
  evaluate(): void {
    this.#replicas.evaluate();
  }

  /** Replicas that serve nothing, above `minReplicas`. */
  idleReplicas(): Dispensable[] {
    return this.#replicas.idle();
  }

  /** Replicas that may go, busy or not, for the revision that is to follow them. */
  yieldingReplicas(): Dispensable[] {
    return this.#replicas.yielding();
  }

  scaling(): ScalingView {
    return this.#replicas.scaling();
  }

  #send(call: Call, slot: Slot): void {
    const nowMs = this.#clock.monotonicMs();
    call.slot = slot;
    call.times.sentAtMs = nowMs;
    call.times.revision = slot.revision.revision;
    this.#replicas.enter(slot);
    this.#replicas.noteLoad(nowMs);
    if (slot.replica.readyInfo === undefined) this.#early.add(call);
    call.handle = call.begin(slot.replica);
  }

  #leaveSlot(call: Call): void {
    if (this.#early.size > 0) this.#early.delete(call);
    if (call.slot !== undefined) this.#replicas.leave(call.slot);
  }

  #enqueue(call: Call): void {
    if (!this.#queue.push(call)) return this.#reject(call, refuseOverloaded(this.#queue));
    this.#replicas.noteLoad(this.#clock.monotonicMs());
    this.#replicas.poke();
    // A replica that starts takes calls at once: they go out right behind its SPECIALISE.
    this.onPlaces();
    this.#armWaitTimer();
  }

  /** For the call that has waited longest, in the queue or in a replica that still starts. */
  #armWaitTimer(): void {
    if (this.#waitTimer !== undefined) return;
    let oldestMs = this.#queue.peek()?.times.arrivedAtMs ?? Number.POSITIVE_INFINITY;
    for (const { times } of this.#early) oldestMs = Math.min(oldestMs, times.arrivedAtMs);
    if (oldestMs === Number.POSITIVE_INFINITY) return;
    this.#waitTimer = this.#clock.setTimer(oldestMs + this.#options.queueTimeoutMs - this.#clock.monotonicMs(), () => {
      this.#waitTimer = undefined;
      this.#refuseOverdue();
      this.#armWaitTimer();
    });
  }

  #refuseOverdue(): void {
    const beforeMs = this.#clock.monotonicMs() - this.#options.queueTimeoutMs + 1;
    for (let oldest = this.#queue.peek(); oldest !== undefined && oldest.times.arrivedAtMs <= beforeMs; oldest = this.#queue.peek()) {
      this.#queue.shift();
      this.#reject(oldest, this.#refuseWaited());
    }
    for (const call of [...this.#early]) {
      const hasStarted = call.slot?.replica.readyInfo !== undefined;
      if (hasStarted || call.abandoned) this.#early.delete(call);
      else if (call.times.arrivedAtMs <= beforeMs) call.refuse(this.#refuseWaited());
    }
  }

  #refuseWaited(): KsError {
    const { inFlight, size, ready, maxReplicas, served, obstacle } = this.#replicas;
    const { queueTimeoutMs } = this.#options;
    const concurrency = served?.revision.spec.concurrency ?? 0;
    return refuseWaited({ queueTimeoutMs, inFlight, replicas: size, readyReplicas: ready, maxReplicas, concurrency, obstacle });
  }

  #refuse(call: Call, error: KsError): void {
    if (this.#handOn === undefined) this.#reject(call, error);
    else this.#handOn([call]);
  }

  #reject(call: Call, error: KsError): void {
    this.#end(call, error);
    if (!call.abandoned) call.receiver.onFailed(call, error);
  }

  #end(call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    call.end();
    this.#replicas.noteEnd(this.#clock.monotonicMs());
    this.#options.onCallEnded(call, error);
  }
}

/** A runtime that does not start is no fault of the call nor of its function: the call waits as long as calls may. */
function hasReturnedTooOften(call: Call, cause: KsError): boolean {
  return !(cause instanceof RuntimeNotStarted) && ++call.returns > MAX_RETURNS;
}
