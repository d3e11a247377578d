import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { FrameWriter } from "../protocol/frame-writer.ts";
import { FrameType, MAX_BODY_BYTES, MAX_META_BYTES, ProtocolError } from "../protocol/frames.ts";
import { DeadlineTimer } from "./deadline-timer.ts";
import type { CallSink, ResponseHead } from "./port.ts";
import { sayHeadTooLarge, sayTimedOut } from "./replica-errors.ts";
import { parseAbortMeta, parseErrorMeta, parseResponseMeta } from "./replica-meta.ts";
import { Printers } from "./printers.ts";
import { type CallControl, cutPieces, RunningCall } from "./running-call.ts";
import { StreamTable } from "./stream-table.ts";

/** A caller that takes nothing of its stream for so long, or for the function's own time-out where that is longer, is cut off. */
const STALL_TIMEOUT_MS = 60_000;

/** What the calls within mean for their replica. */
export interface StreamEvents {
  /** The last call has ended. */
  onIdle(): void;
  /** A call was given up, as it took too long; it may still run. */
  onTimedOut(): void;
}

/** How what comes of a call is to be read. */
export interface StreamDialect {
  /** @throws ProtocolError */
  parseHead(status: number, meta: Buffer): ResponseHead;
  /** @throws ProtocolError */
  parseError(meta: Buffer): KsError;
  /** A response that has begun cannot be finished. @throws ProtocolError */
  parseAbort(meta: Buffer): KsError;
  /** The call was not begun. @throws ProtocolError */
  parseBusy(meta: Buffer): KsError;
}

const REPLICA_DIALECT: StreamDialect = {
  parseHead: parseResponseMeta,
  parseError: parseErrorMeta,
  parseAbort: parseAbortMeta,
  parseBusy: () => new KsError("OVERLOADED"),
};

/** The calls on one connection, each a stream of frames. What the replica sends is hostile: a broken rule is a ProtocolError. */
export class CallStreams<Sink extends CallSink = CallSink> implements CallControl {
  readonly #clock: Clock;
  readonly #events: StreamEvents;
  readonly #dialect: StreamDialect;
  readonly #calls = new StreamTable<RunningCall<Sink>>();
  readonly #deadlines: DeadlineTimer<RunningCall<Sink>>;
  #writer: FrameWriter | undefined;
  /** What was asked for before there was a connection. */
  #early: (() => void)[] = [];
  #ready = false;
  #nextStream = 1;
  readonly #printers = new Printers();

  constructor(clock: Clock, events: StreamEvents, dialect: StreamDialect = REPLICA_DIALECT) {
    this.#clock = clock;
    this.#dialect = dialect;
    this.#events = events;
    this.#deadlines = new DeadlineTimer(
      clock,
      () => this.#calls.list(),
      (call) => this.#timeOut(call),
    );
  }

  get size(): number {
    return this.#calls.size;
  }

  /** hot: `meta` is that of the CALL. */
  open(meta: string, timeoutMs: number, body: readonly Buffer[], sink: Sink): RunningCall<Sink> {
    const stream = this.#nextStream++;
    const call = new RunningCall(this, stream, sink, timeoutMs);
    // A UTF-16 unit takes at most 3 bytes of UTF-8, so the exact size is seldom needed.
    if (meta.length * 3 > MAX_META_BYTES && Buffer.byteLength(meta) > MAX_META_BYTES) {
      sink.onError(sayHeadTooLarge(Buffer.byteLength(meta)));
      return call;
    }
    this.#calls.add(stream, call);
    if (this.#writer === undefined) this.#early.push(() => this.#sendCall(stream, call, meta, body));
    else this.#sendCall(stream, call, meta, body);
    return call;
  }

  /**
   * The request id of the only call that can have written what was just read from the process's own descriptors; undefined
   * where there are several, or none.
   */
  findPrinter(): string | undefined {
    return this.#printers.find(this.#calls.list(), this.#writer?.flushes ?? 0, this.#clock.monotonicMs());
  }

  /** Sends what has waited for the connection. */
  connect(writer: FrameWriter): void {
    this.#writer = writer;
    const early = this.#early;
    this.#early = [];
    for (const send of early) send();
  }

  /** From now on handlers run, and their time counts. */
  start(): void {
    this.#ready = true;
    for (const call of this.#calls.list()) this.#startDeadline(call);
  }

  stop(): void {
    this.#deadlines.cancel();
  }

  /** Ends every call with this error; those that never began may go to another replica. */
  settleAll(error: KsError, mayHaveStarted: boolean): void {
    for (const sink of this.takeAll()) {
      if (mayHaveStarted) sink.onError(error);
      else sink.onNotStarted(error);
    }
  }

  /** Who waits for the calls, of which nothing more is heard here. */
  takeAll(): Sink[] {
    const sinks = this.#calls.list().map(({ sink }) => sink);
    this.#calls.clear();
    return sinks;
  }

  /** Who waits for a call; undefined when it has ended. */
  sinkOf(stream: number): Sink | undefined {
    return this.#calls.get(stream)?.sink;
  }

  /** Nothing more is wanted of a call; `meta` says why. What still comes of it is passed over. */
  giveUp(stream: number, meta: string): void {
    if (this.#calls.delete(stream)) this.#writer?.send(stream, FrameType.CANCEL, false, meta, undefined);
  }

  cancelCall(stream: number): void {
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    if (this.#writer !== undefined) return this.#writer.send(stream, FrameType.CANCEL, false, "", undefined);
    // Nothing of it has left yet.
    this.#forget(call);
    call.sink.onNotStarted(new KsError("CLIENT_CLOSED"));
  }

  creditCall(stream: number, bytes: number): void {
    const call = this.#calls.get(stream);
    if (call === undefined || this.#writer === undefined) return;
    call.receiveCredit += bytes;
    this.#noteProgress(call);
    const body = Buffer.allocUnsafe(4);
    body.writeUInt32BE(bytes);
    this.#writer.send(stream, FrameType.CREDIT, false, "", body);
  }

  /** hot: a response begins. */
  receiveHead(stream: number, status: number, more: boolean, meta: Buffer, body: Buffer): void {
    const call = this.#find(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} has a second head`);
    const head = this.#dialect.parseHead(status, meta);
    call.hasHead = true;
    if (more) this.#noteProgress(call);
    else this.#forget(call);
    call.sink.onHead(head, body, more);
  }

  /** hot: a response goes on. */
  receiveData(stream: number, more: boolean, body: Buffer): void {
    const call = this.#find(stream);
    if (call === undefined) return;
    if (!call.hasHead) throw new ProtocolError(`stream ${stream} has DATA before its head`);
    call.receiveCredit -= body.length;
    if (call.receiveCredit < 0) throw new ProtocolError(`stream ${stream} sent more than its credit`);
    if (more) this.#noteProgress(call);
    else this.#forget(call);
    call.sink.onData(body, more);
  }

  /** Any other frame of a call's stream. */
  receiveOther(stream: number, kind: number, meta: Buffer, body: Buffer): void {
    if (kind === FrameType.ERROR) this.#receiveError(stream, meta);
    else if (kind === FrameType.BUSY) this.#receiveBusy(stream, meta);
    else if (kind === FrameType.CREDIT) this.#receiveCredit(stream, body);
    else if (kind === FrameType.ABORT) this.#receiveAbort(stream, meta);
  }

  #receiveError(stream: number, meta: Buffer): void {
    const call = this.#find(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} has an ERROR after its head`);
    this.#forget(call);
    call.sink.onError(this.#dialect.parseError(meta));
  }

  #receiveAbort(stream: number, meta: Buffer): void {
    const call = this.#find(stream);
    if (call === undefined) return;
    if (!call.hasHead) throw new ProtocolError(`stream ${stream} has an ABORT before its head`);
    this.#forget(call);
    call.sink.onError(this.#dialect.parseAbort(meta));
  }

  /** Also before READY: a replica that leaves says so while its code is loading. */
  #receiveBusy(stream: number, meta: Buffer): void {
    const call = this.#calls.get(stream) ?? this.#find(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} is BUSY after its head`);
    this.#forget(call);
    call.sink.onNotStarted(this.#dialect.parseBusy(meta));
  }

  #receiveCredit(stream: number, body: Buffer): void {
    if (body.length !== 4) throw new ProtocolError("CREDIT needs 4 bytes");
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    call.sendCredit += body.readUInt32BE(0);
    this.#sendPieces(stream, call);
  }

  /** Undefined for a call that was given up here, such as one that timed out, while the replica still answers it. */
  #find(stream: number): RunningCall<Sink> | undefined {
    const call = this.#calls.get(stream);
    if (call === undefined) {
      if (stream > 0 && stream < this.#nextStream) return undefined;
      throw new ProtocolError(`stream ${stream} was never opened`);
    }
    if (!call.started) throw new ProtocolError("a response before READY");
    return call;
  }

  #forget(call: RunningCall<Sink>): void {
    this.#calls.delete(call.stream);
    this.#printers.noteEnd(call.requestId, this.#clock);
    if (this.#calls.size === 0) this.#events.onIdle();
  }

  #sendCall(stream: number, call: RunningCall<Sink>, meta: string, body: readonly Buffer[]): void {
    // What came before the connection may have ended already.
    if (this.#calls.get(stream) !== call) return;
    const pieces = cutPieces(body);
    const first = pieces.shift();
    // Before it is sent, as it may leave at once and be answered.
    if (this.#ready) this.#startDeadline(call);
    call.sentAtFlush = this.#writer?.flushes ?? 0;
    this.#writer?.send(stream, FrameType.CALL, pieces.length > 0, meta, first);
    if (pieces.length > 0) {
      call.unsent = pieces;
      this.#sendPieces(stream, call);
    }
  }

  #sendPieces(stream: number, call: RunningCall<Sink>): void {
    for (let piece = call.unsent[0]; piece !== undefined && call.sendCredit >= piece.length; piece = call.unsent[0]) {
      call.unsent.shift();
      call.sendCredit -= piece.length;
      this.#writer?.send(stream, FrameType.DATA, call.unsent.length > 0, "", piece);
    }
  }

  #startDeadline(call: RunningCall<Sink>): void {
    call.started = true;
    const nowMs = this.#clock.monotonicMs();
    call.deadlineMs = nowMs + call.timeoutMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
  }

  /** A stream's pause begins anew with each piece that comes, and with each that the caller has taken. */
  #noteProgress(call: RunningCall<Sink>): void {
    const nowMs = this.#clock.monotonicMs();
    call.progressAtMs = nowMs;
    call.deadlineMs = nowMs + call.timeoutMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
  }

  /** The function may not send on before its caller has taken something: a slow caller is not the function's fault. */
  #awaitCaller(call: RunningCall<Sink>): void {
    const nowMs = this.#clock.monotonicMs();
    const stallsAtMs = call.progressAtMs + Math.max(call.timeoutMs, STALL_TIMEOUT_MS);
    call.stalled = nowMs + 1 >= stallsAtMs;
    call.deadlineMs = call.stalled ? nowMs + call.timeoutMs : stallsAtMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
    if (call.stalled) call.sink.onStalled();
  }

  #timeOut(call: RunningCall<Sink>): void {
    const { stream } = call;
    // Another one's end may have taken it along.
    if (this.#calls.get(stream) !== call) return;
    if (call.hasHead && call.receiveCredit < MAX_BODY_BYTES && !call.stalled) return this.#awaitCaller(call);
    this.#writer?.send(stream, FrameType.CANCEL, false, "", undefined);
    this.#calls.delete(stream);
    this.#events.onTimedOut();
    call.sink.onError(sayTimedOut(call.timeoutMs, call.hasHead));
  }
}
