import { KsError } from "@kube-serverless/contracts";
import type { CallHandle, CallHead, CallSink, Replica, ResponseHead } from "../instances/port.ts";
import type { CallTrace } from "../telemetry/call-trace.ts";
import type { Slot } from "./slots.ts";

/** What became of a call's time, for headers and metrics; milliseconds. */
export interface CallTimes {
  /** When it was there with its whole body. */
  arrivedAtMs: number;
  /** When it was given to a replica. */
  sentAtMs: number;
  /** True only when it waited for a replica to be specialised or started. */
  cold: boolean;
  startMs: number;
  loadMs: number;
  /** 0 unless its program had to be compiled. */
  compileMs: number;
  revision: number;
}

/** Who gets the answer: an HTTP response, a cron run, a queue delivery. */
export interface CallReceiver {
  onHead(call: Call, head: ResponseHead, piece: Buffer, more: boolean): void;
  onData(call: Call, piece: Buffer, more: boolean): void;
  /** Before a head: the answer. After one: the response broke off. */
  onFailed(call: Call, error: KsError): void;
}

/** Who leads a call to its end: the function's dispatcher, or another gateway's. */
export interface CallKeeper {
  /** hot: the handler has answered, its stream may go on. */
  noteHead(call: Call): void;
  /** hot */
  callEnded(call: Call, error: KsError | undefined): void;
  /** A replica had not begun the call: it goes back to the head of the queue. */
  callReturned(call: Call, cause: KsError): void;
  abandon(call: Call): void;
}

/** Where calls of one function are handed in: its dispatcher, or in a cluster the way to the gateway that owns it. */
export interface CallEntrance extends CallKeeper {
  /** A call is on its way: from zero, a replica is started before the body has come. */
  warm(): void;
  /** hot */
  submit(call: Call): void;
}

/** What a call was let in with. */
export interface Admission {
  /** Gives its places back; once the call has ended, however it did. */
  leave(): void;
  /** hot: adds the headers of the answer that tell what is left of the limits, as `[name, value, …]`. */
  appendHeaders(headers: string[]): void;
}

/** One call on its way through the gateway: waits in the queue, runs in a slot, ends exactly once. */
export class Call implements CallSink {
  readonly head: CallHead;
  readonly body: readonly Buffer[];
  readonly bodyBytes: number;
  readonly receiver: CallReceiver;
  readonly times: CallTimes;
  slot: Slot | undefined;
  handle: CallHandle | undefined;
  /** How often it was given back by a replica that had not begun it. */
  returns = 0;
  durationMs = 0;
  /** What the function answered. */
  status: number | undefined;
  hasHead = false;
  ended = false;
  /** The caller has gone; what the handler still does counts as CLIENT_CLOSED. */
  abandoned = false;
  /** Why its response was not passed on. */
  refusal: KsError | undefined;
  /** Its spans, where calls are traced. */
  trace: CallTrace | undefined;
  /** Another gateway gave it to a replica. */
  reachedElsewhere = false;
  /** Changes where another dispatcher takes it over. */
  keeper: CallKeeper;
  /** Undefined where nothing is limited. */
  admission: Admission | undefined;

  constructor(keeper: CallKeeper, head: CallHead, body: readonly Buffer[], bodyBytes: number, receiver: CallReceiver, arrivedAtMs: number) {
    this.keeper = keeper;
    this.head = head;
    this.body = body;
    this.bodyBytes = bodyBytes;
    this.receiver = receiver;
    this.times = { arrivedAtMs, sentAtMs: 0, cold: false, startMs: 0, loadMs: 0, compileMs: 0, revision: 0 };
  }

  /** A replica was given it, so that its handler may have begun. */
  get reached(): boolean {
    return this.slot !== undefined || this.reachedElsewhere;
  }

  /** hot: there is a place for it. */
  begin(replica: Replica): CallHandle {
    return replica.call(this.head, this.body, this);
  }

  onHead(head: ResponseHead, piece: Buffer, more: boolean): void {
    this.hasHead = true;
    this.durationMs = head.durationMs;
    this.status = head.status;
    this.keeper.noteHead(this);
    try {
      if (!this.abandoned) this.receiver.onHead(this, head, piece, more);
    } finally {
      if (!more) this.keeper.callEnded(this, undefined);
    }
  }

  onData(piece: Buffer, more: boolean): void {
    try {
      if (!this.abandoned) this.receiver.onData(this, piece, more);
      else if (more) this.handle?.credit(piece.length);
    } finally {
      if (!more) this.keeper.callEnded(this, undefined);
    }
  }

  onError(error: KsError): void {
    const durationMs = (error.details as { durationMs?: number } | undefined)?.durationMs;
    if (durationMs !== undefined) this.durationMs = durationMs;
    else if (error.code === "TIMEOUT" && !this.hasHead) this.durationMs = this.head.timeoutMs;
    this.keeper.callEnded(this, error);
    if (!this.abandoned) this.receiver.onFailed(this, error);
  }

  onStalled(): void {
    if (this.abandoned) return;
    this.receiver.onFailed(this, new KsError("CLIENT_CLOSED"));
    this.abandon();
  }

  onNotStarted(cause: KsError): void {
    this.keeper.callReturned(this, cause);
  }

  /** What the function answers cannot be passed on: this counts instead of it. */
  refuse(error: KsError): void {
    this.refusal = error;
    this.receiver.onFailed(this, error);
    this.abandon();
  }

  /** For its keeper: nothing more comes of it. */
  end(): void {
    this.ended = true;
    this.admission?.leave();
  }

  /** The caller is gone: leaves the queue, or aborts the handler's signal. */
  abandon(): void {
    this.keeper.abandon(this);
  }
}
