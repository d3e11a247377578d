import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type {
  CallHandle,
  CallHead,
  CallSink,
  CodeSource,
  PoolState,
  ReadyInfo,
  Replica,
  ReplicaExit,
  ReplicaProvider,
  RevisionRef,
} from "../instances/port.ts";

/** A call that a fake replica was given. */
export interface GivenCall {
  head: CallHead;
  sink: CallSink;
  cancelled: boolean;
}

/** A replica that does what a test says, for what no real one does on demand. */
export class FakeReplica implements Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  readonly #readiness = Promise.withResolvers<ReadyInfo>();
  readonly #exit = Promise.withResolvers<ReplicaExit>();
  readonly ready = this.#readiness.promise;
  readonly exited = this.#exit.promise;
  readonly calls: GivenCall[] = [];
  readyInfo: ReadyInfo | undefined;
  accepting = true;
  draining = false;
  ended = false;
  readonly #clock: Clock;

  constructor(id: string, revision: RevisionRef, clock: Clock) {
    this.id = id;
    this.revision = revision;
    this.#clock = clock;
    this.ready.catch(() => undefined);
  }

  get inFlight(): number {
    return this.calls.length;
  }

  call(head: CallHead, _body: readonly Buffer[], sink: CallSink): CallHandle {
    const call = { head, sink, cancelled: false };
    this.calls.push(call);
    return { cancel: () => void (call.cancelled = true), credit: () => undefined };
  }

  drain(): void {
    this.accepting = false;
    this.draining = true;
    this.#endIfDrained();
  }

  kill(): void {
    this.crash(new KsError("FUNCTION_CRASHED"));
  }

  becomeReady(): void {
    if (this.ended || this.readyInfo !== undefined) return;
    this.readyInfo = { atMs: this.#clock.monotonicMs(), fromPool: true, startMs: 0, loadMs: 1, runtimeVersion: "1" };
    this.#readiness.resolve(this.readyInfo);
  }

  answer(call: GivenCall = this.calls[0]!): void {
    this.#take(call);
    call.sink.onHead({ status: 200, kind: "json", headers: [], durationMs: 1 }, Buffer.from("1"), false);
    this.#endIfDrained();
  }

  giveBack(call: GivenCall = this.calls[0]!): void {
    this.#take(call);
    call.sink.onNotStarted(new KsError("OVERLOADED"));
  }

  /** The first call times out: from now on it takes no more. */
  timeOut(): void {
    const call = this.calls[0]!;
    this.#take(call);
    this.accepting = false;
    call.sink.onError(new KsError("TIMEOUT"));
  }

  /** The code could not be loaded: its calls are told so. */
  failToLoad(error: KsError): void {
    this.ended = true;
    this.accepting = false;
    this.#readiness.reject(error);
    for (const call of this.calls.splice(0)) call.sink.onError(error);
    this.#exit.resolve({ reason: "failed", error });
  }

  /** Ends with all its calls: before READY they never began. */
  crash(error: KsError): void {
    if (this.ended) return;
    this.ended = true;
    this.accepting = false;
    const wasReady = this.readyInfo !== undefined;
    this.#readiness.reject(error);
    for (const call of this.calls.splice(0)) {
      if (wasReady) call.sink.onError(error);
      else call.sink.onNotStarted(error);
    }
    this.#exit.resolve({ reason: "crashed", error });
  }

  #take(call: GivenCall): void {
    this.calls.splice(this.calls.indexOf(call), 1);
  }

  #endIfDrained(): void {
    if (this.draining && this.calls.length === 0 && !this.ended) {
      this.ended = true;
      this.#readiness.reject(new KsError("DRAINING"));
      this.#exit.resolve({ reason: "drained", error: new KsError("DRAINING") });
    }
  }
}

export class FakeProvider implements ReplicaProvider {
  readonly replicas: FakeReplica[] = [];
  /** Thrown at the next start. */
  refusal: KsError | undefined;
  /** How often a replica was asked for. */
  asked = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get living(): FakeReplica[] {
    return this.replicas.filter((replica) => !replica.ended);
  }

  get accepting(): FakeReplica[] {
    return this.replicas.filter((replica) => replica.accepting);
  }

  startReplica(revision: RevisionRef, _code: CodeSource): FakeReplica {
    this.asked++;
    if (this.refusal !== undefined) throw this.refusal;
    const replica = new FakeReplica(`replica-${this.replicas.length}`, revision, this.#clock);
    this.replicas.push(replica);
    return replica;
  }

  runtimes(): [] {
    return [];
  }

  installHint(): string {
    return "";
  }

  degraded(): [] {
    return [];
  }

  poolState(): Promise<PoolState[]> {
    return Promise.resolve([]);
  }

  async stop(): Promise<void> {}
}
