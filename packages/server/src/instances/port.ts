import type { Caller, KsError, RuntimeInfo, TriggerInfo } from "@kube-serverless/contracts";
import type { SpecWithoutCode } from "../store/port.ts";

/** The revision a replica is made of. */
export interface RevisionRef {
  uid: string;
  name: string;
  revision: number;
  spec: SpecWithoutCode;
}

/** `meta` of a CALL frame (runtimes/PROTOCOL.md), as JSON fields. */
export interface CallHead {
  id: string;
  method: string;
  path: string;
  query: Record<string, string | string[]>;
  headers: Record<string, string>;
  params?: Record<string, string>;
  trigger: TriggerInfo;
  timeoutMs: number;
  traceparent?: string;
  /** Left out for who did not prove who they are. */
  caller?: Caller;
  /** The fields above as JSON, where they came so. */
  readonly encoded?: string;
}

export type BodyKind = "json" | "text" | "binary" | "none";

/** Head of a response as the replica sent it, its fields checked for type, its headers not yet for what HTTP carries. */
export interface ResponseHead {
  status: number;
  kind: BodyKind;
  /** `[name, value, name, value, …]` */
  headers: readonly string[];
  durationMs: number;
  /** What it was read from, for whoever passes it on. */
  meta?: Buffer;
}

/** Who receives the answer of one call; exactly one of `onError` and a last piece with `more` false ends it. */
export interface CallSink {
  onHead(head: ResponseHead, piece: Buffer, more: boolean): void;
  onData(piece: Buffer, more: boolean): void;
  /** Instead of a head: nothing of a response has been seen. After a head: the response broke off. */
  onError(error: KsError): void;
  /** What the caller does not take has held the stream up for too long; the stream goes on until it ends or is cancelled. */
  onStalled(): void;
  /** The call never reached the handler (the replica was at its concurrency, or ended before): it may go to another replica. */
  onNotStarted(cause: KsError): void;
}

/** A call in a replica. */
export interface CallHandle {
  /** The caller is gone. */
  cancel(): void;
  /** The sink has consumed so many bytes of DATA. */
  credit(bytes: number): void;
}

export type ReplicaExitReason = "drained" | "killed" | "crashed" | "out-of-memory" | "held" | "failed";

export interface ReplicaExit {
  reason: ReplicaExitReason;
  /** What the calls within were answered. */
  error: KsError;
}

export interface ReadyInfo {
  /** When READY came, on the monotonic clock. */
  atMs: number;
  /** True: a waiting replica was claimed. False: the pool had none, or the class isn't kept warm. */
  fromPool: boolean;
  /** Claim or spawn, until HELLO. */
  startMs: number;
  /** SPECIALISE until READY. */
  loadMs: number;
  /** Before that: a program that had to be made, where one was. */
  compileMs?: number;
  runtimeVersion: string;
}

/** A process or pod that runs one revision of one function. */
export interface Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  /** Rejects with KsError `FUNCTION_FAILED` (reason and message in details) or what ended it. Calls may be sent before. */
  readonly ready: Promise<ReadyInfo>;
  /** The same at once, undefined before. */
  readonly readyInfo: ReadyInfo | undefined;
  /** Resolves when nothing of it is left; never rejects. */
  readonly exited: Promise<ReplicaExit>;
  readonly inFlight: number;
  /** False from the moment it drains, ended, or had a call that timed out: no new calls then. */
  readonly accepting: boolean;
  call(head: CallHead, body: readonly Buffer[], sink: CallSink): CallHandle;
  /** Ends when its calls have ended, at the latest after `deadlineMs`. */
  drain(deadlineMs: number): void;
  kill(): void;
}

/** A replica that could go, if its room is needed. */
export interface Dispensable {
  readonly replica: Replica;
  giveUp(): void;
}

/** Source code of a revision; a string at once where it is at hand, so that a claim needs no turn of the event loop. */
export type CodeSource = () => string | Promise<string>;

/** `serve`: for calls. `check`: a deploy loads the code once. */
export type ReplicaPurpose = "serve" | "check";

export interface PoolState {
  runtime: string;
  memoryMiB: number;
  waiting: number;
  target: number;
  /** Memory of the waiting ones together, as proportional set size. */
  pssMiB: number;
}

/** Makes replicas: local processes or pods. */
export interface ReplicaProvider {
  /**
   * A claimed or new replica at once, its start under way.
   * @throws KsError `NO_CAPACITY` when the machine-wide caps are reached and nothing idle can go.
   */
  startReplica(revision: RevisionRef, code: CodeSource, purpose: ReplicaPurpose): Replica;
  runtimes(): readonly RuntimeInfo[];
  /** How to install a runtime that is not among them; empty where nothing is known. */
  installHint(runtime: string): string;
  /** Names of what is away or weaker than it should be, such as `pool-nodejs18-empty`, `sandbox-plain`. */
  degraded(): readonly string[];
  /** For `/ready`: waiting replicas and their memory. */
  poolState(): Promise<readonly PoolState[]>;
  stop(options: { deadlineMs: number }): Promise<void>;
}
