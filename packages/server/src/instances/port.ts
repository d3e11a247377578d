import type { KsError, RuntimeInfo, TriggerInfo } from "@kube-serverless/contracts";
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
}

export type BodyKind = "json" | "text" | "binary" | "none";

/** Head of a response as the replica sent it, its fields checked for type, its headers not yet for what HTTP carries. */
export interface ResponseHead {
  status: number;
  kind: BodyKind;
  /** `[name, value, name, value, …]` */
  headers: readonly string[];
  durationMs: number;
}

/** Who receives the answer of one call; exactly one of `onError` and a last piece with `more` false ends it. */
export interface CallSink {
  onHead(head: ResponseHead, piece: Buffer, more: boolean): void;
  onData(piece: Buffer, more: boolean): void;
  /** Instead of a head: nothing of a response has been seen. After a head: the response broke off. */
  onError(error: KsError): void;
  /** The replica was at its concurrency and has not begun the call. */
  onBusy(): void;
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
  /** True: a waiting replica was claimed. False: the pool had none, or the class isn't kept warm. */
  fromPool: boolean;
  /** Claim or spawn, until HELLO. */
  startMs: number;
  /** SPECIALISE until READY. */
  loadMs: number;
  runtimeVersion: string;
}

/** A process or pod that runs one revision of one function. */
export interface Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  /** Rejects with KsError `FUNCTION_FAILED` (reason and message in details) or what ended it. Calls may be sent before. */
  readonly ready: Promise<ReadyInfo>;
  /** Resolves when nothing of it is left; never rejects. */
  readonly exited: Promise<ReplicaExit>;
  readonly inFlight: number;
  call(head: CallHead, body: readonly Buffer[], sink: CallSink): CallHandle;
  /** Ends when its calls have ended, at the latest after `deadlineMs`. */
  drain(deadlineMs: number): void;
  kill(): void;
}

/** Makes replicas: local processes or pods. */
export interface ReplicaProvider {
  /**
   * A claimed or new replica at once, its start under way.
   * @throws KsError `NO_CAPACITY` when the machine-wide caps are reached and nothing idle can go.
   */
  startReplica(revision: RevisionRef, code: () => Promise<string>): Replica;
  runtimes(): readonly RuntimeInfo[];
  /** Names of what is away or weaker than it should be, such as `pool-nodejs18-empty`, `sandbox-plain`. */
  degraded(): readonly string[];
  /** For `/ready`: waiting replicas and their memory. */
  poolState(): readonly { runtime: string; memoryMiB: number; waiting: number; target: number; pssMiB: number }[];
  stop(options: { deadlineMs: number }): Promise<void>;
}
