import type { Duplex } from "node:stream";
import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { FrameDecoder, FrameType, MAX_BODY_BYTES, MAX_META_BYTES, parseMeta, ProtocolError } from "../protocol/frames.ts";
import { FrameWriter } from "../protocol/frame-writer.ts";
import type { CallHandle, CallHead, CallSink, ReadyInfo, Replica, ReplicaExit, ReplicaExitReason, RevisionRef } from "./port.ts";
import { DeadlineTimer } from "./deadline-timer.ts";
import { cutPieces, RunningCall } from "./running-call.ts";
import { sayBroken, sayDisconnected, sayDrained, sayHeadTooLarge, sayHeld, sayLoadTimedOut, sayTimedOut } from "./replica-errors.ts";
import { encodeSpecialise, type Specialisation } from "./specialisation.ts";
import { SoonestTimer } from "./soonest-timer.ts";
import { parseErrorMeta, parseFailure, parseResponseMeta } from "./replica-meta.ts";

/** A call that times out makes its replica prove within this time that its event loop still turns. */
const PING_TIMEOUT_MS = 1000;
/** Once it is to drain and has no calls, or has closed its connection, a process may take so long to end by itself. */
const LEAVE_TIMEOUT_MS = 2000;
/** A caller that takes nothing of its stream for so long, or for the function's own time-out where that is longer, is cut off. */
const STALL_TIMEOUT_MS = 60_000;

/** What carries the frames and can be ended. */
export interface ReplicaTransport {
  readonly socket: Duplex;
  kill(): void;
}

/** One printed piece: lines parted by `\n`. */
export interface PrintedLines {
  stream: "stdout" | "stderr";
  requestId: string | undefined;
  timeMs: number;
  body: Buffer;
  truncated: boolean;
  /** So many lines were lost here, as they came faster than they could leave; the body says so, too. */
  dropped: number;
}

export interface FrameReplicaOptions {
  id: string;
  revision: RevisionRef;
  clock: Clock;
  /** Loading may take so long; then `FUNCTION_FAILED`, reason `LoadTimeout`. */
  loadTimeoutMs: number;
  onPrinted(lines: PrintedLines): void;
  /** Ends what has no transport yet. */
  onAbandoned(): void;
}

/** The gateway's side of one replica, whatever carries its frames. Its frames are hostile input: what breaks a rule ends it. */
export class FrameReplica implements Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  readonly ready: Promise<ReadyInfo>;
  readonly exited: Promise<ReplicaExit>;
  readonly #options: FrameReplicaOptions;
  readonly #clock: Clock;
  readonly #calls = new Map<number, RunningCall>();
  readonly #readiness = Promise.withResolvers<ReadyInfo>();
  readonly #exit = Promise.withResolvers<ReplicaExit>();
  #transport: ReplicaTransport | undefined;
  #writer: FrameWriter | undefined;
  /** What was asked for before the transport was there. */
  #early: (() => void)[] = [];
  #state: "starting" | "specialising" | "ready" | "ended" = "starting";
  #accepting = true;
  #nextStream = 1;
  readonly #deadlines: DeadlineTimer<number, RunningCall>;
  #loadTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  /** Ends what was asked to drain, or has cut its connection, and is still there. */
  readonly #leaveTimer: SoonestTimer;
  /** Set when we end it, so that the exit tells why. */
  #ending: { reason: ReplicaExitReason; error: KsError } | undefined;
  #lastStderr = "";
  #draining = false;
  /** A call timed out in it: it ends with the last of the others. */
  #quarantined = false;
  #onReady: () => void = () => undefined;
  #readyInfo: ReadyInfo | undefined;

  constructor(options: FrameReplicaOptions) {
    this.id = options.id;
    this.revision = options.revision;
    this.#options = options;
    this.#clock = options.clock;
    this.#leaveTimer = new SoonestTimer(options.clock);
    this.#deadlines = new DeadlineTimer(options.clock, this.#calls, (stream, call) => this.#timeOut(stream, call));
    this.ready = this.#readiness.promise;
    this.exited = this.#exit.promise;
    // A replica that nobody waits for may fail without being an unhandled rejection.
    this.ready.catch(() => undefined);
  }

  get inFlight(): number {
    return this.#calls.size;
  }

  get readyInfo(): ReadyInfo | undefined {
    return this.#readyInfo;
  }

  get accepting(): boolean {
    return this.#accepting;
  }

  /** Connects the process that was claimed or started, and sends SPECIALISE with the calls that wait. */
  specialise(transport: ReplicaTransport, specialisation: Specialisation): void {
    if (this.#state === "ended" || this.#ending !== undefined) {
      transport.kill();
      return;
    }
    this.#attach(transport);
    this.#state = "specialising";
    const specialisedAtMs = this.#clock.monotonicMs();
    this.#onReady = () => {
      this.#readyInfo = {
        atMs: this.#clock.monotonicMs(),
        fromPool: specialisation.fromPool,
        startMs: specialisation.startMs,
        loadMs: this.#clock.monotonicMs() - specialisedAtMs,
        runtimeVersion: specialisation.runtimeVersion,
      };
      this.#readiness.resolve(this.#readyInfo);
    };
    const { meta, body } = encodeSpecialise(this.revision, specialisation);
    this.#writer?.send(0, FrameType.SPECIALISE, false, meta, body);
    this.#loadTimer = this.#clock.setTimer(this.#options.loadTimeoutMs, () => this.#loadTimedOut());
    const early = this.#early;
    this.#early = [];
    for (const send of early) send();
    // The first call is given within this turn, so that it leaves in the same write.
    process.nextTick(() => this.#writer?.flush());
  }

  call(head: CallHead, body: readonly Buffer[], sink: CallSink): CallHandle {
    const stream = this.#nextStream++;
    const call = new RunningCall(this, stream, sink, head.timeoutMs);
    const meta = JSON.stringify(head);
    // A UTF-16 unit takes at most 3 bytes of UTF-8, so the exact size is seldom needed.
    if (meta.length * 3 > MAX_META_BYTES && Buffer.byteLength(meta) > MAX_META_BYTES) {
      sink.onError(sayHeadTooLarge(Buffer.byteLength(meta)));
      return call;
    }
    this.#calls.set(stream, call);
    if (this.#writer === undefined) this.#early.push(() => this.#sendCall(stream, call, meta, body));
    else this.#sendCall(stream, call, meta, body);
    return call;
  }

  drain(deadlineMs: number): void {
    this.#accepting = false;
    if (this.#state === "ended" || this.#ending !== undefined) return;
    if (!this.#draining && this.#state === "ready") this.#writer?.send(0, FrameType.DRAIN, false, "", undefined);
    this.#draining = true;
    if (this.#calls.size === 0) this.#leave();
    this.#endDrainedIn(deadlineMs);
  }

  kill(): void {
    this.#endBy("killed", new KsError("FUNCTION_CRASHED", { message: "The replica was stopped by the platform" }));
  }

  /** The provider tells why no process could be had or how it ended; everything left is answered. */
  end(reason: ReplicaExitReason, error: KsError): void {
    if (this.#state === "ended") return;
    const why = this.#ending ?? { reason, error };
    const wasReady = this.#state === "ready";
    this.#state = "ended";
    this.#accepting = false;
    for (const timer of [this.#deadlines, this.#loadTimer, this.#pingTimer, this.#leaveTimer]) timer?.cancel();
    this.#readiness.reject(why.error);
    this.#settleAll(why.error, wasReady || why.reason === "failed");
    this.#exit.resolve(why);
  }

  /** Lines that the process wrote to descriptor 2 or through its shim last, for telling why it ended. */
  get lastStderr(): string {
    return this.#lastStderr;
  }

  noteStderr(text: string): void {
    this.#lastStderr = (this.#lastStderr + text).slice(-4096);
  }

  get ended(): boolean {
    return this.#state === "ended";
  }

  /** True once the replica is to end and waits for its process to be gone. */
  get ending(): boolean {
    return this.#ending !== undefined || this.#draining;
  }

  cancelCall(stream: number): void {
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    if (this.#writer !== undefined) return this.#writer.send(stream, FrameType.CANCEL, false, "", undefined);
    // Nothing of it has left yet.
    this.#forget(stream);
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

  #attach(transport: ReplicaTransport): void {
    this.#transport = transport;
    this.#writer = new FrameWriter(transport.socket);
    const decoder = new FrameDecoder((stream, kind, more, meta, body) => this.#receive(stream, kind, more, meta, body));
    transport.socket.on("data", (chunk: Buffer) => {
      if (this.#ending !== undefined && !this.#draining) return;
      try {
        decoder.push(chunk);
      } catch (error) {
        this.#breakOff(error);
      }
    });
    transport.socket.once("end", () => this.#connectionEnded()).once("close", () => this.#connectionEnded());
  }

  /** Mostly its process ends, too, and tells better why; but a function may have closed the descriptor. */
  #connectionEnded(): void {
    this.#accepting = false;
    if (this.#state === "ended" || this.#ending !== undefined) return;
    this.#leaveTimer.set(LEAVE_TIMEOUT_MS, () => this.#endBy("crashed", sayDisconnected()));
  }

  /** hot: one frame of the replica. */
  #receive(stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (kind >= 200) this.#receiveHead(stream, kind, more, meta, body);
    else if (kind === FrameType.DATA) this.#receiveData(stream, more, body);
    else if (stream === 0) this.#receiveControl(kind, meta, body);
    else this.#receiveOther(stream, kind, meta, body);
  }

  #receiveHead(stream: number, status: number, more: boolean, meta: Buffer, body: Buffer): void {
    const call = this.#findCall(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} has a second head`);
    const head = parseResponseMeta(status, meta);
    call.hasHead = true;
    if (more) this.#noteProgress(call);
    else this.#forget(stream);
    call.sink.onHead(head, body, more);
  }

  #receiveData(stream: number, more: boolean, body: Buffer): void {
    const call = this.#findCall(stream);
    if (call === undefined) return;
    if (!call.hasHead) throw new ProtocolError(`stream ${stream} has DATA before its head`);
    call.receiveCredit -= body.length;
    if (call.receiveCredit < 0) throw new ProtocolError(`stream ${stream} sent more than its credit`);
    if (more) this.#noteProgress(call);
    else this.#forget(stream);
    call.sink.onData(body, more);
  }

  #receiveControl(kind: number, meta: Buffer, body: Buffer): void {
    if (kind === FrameType.LOG) this.#receiveLog(meta, body);
    else if (kind === FrameType.READY) this.#becomeReady();
    else if (kind === FrameType.FAILED) this.#failed(meta);
    else if (kind === FrameType.PONG) this.#endPing();
    else if (kind === FrameType.HELLO) throw new ProtocolError("a second HELLO");
    else if (kind === FrameType.CALL || kind === FrameType.SPECIALISE) throw new ProtocolError(`type ${kind} from a replica`);
  }

  #receiveOther(stream: number, kind: number, meta: Buffer, body: Buffer): void {
    if (kind === FrameType.LOG) this.#receiveLog(meta, body);
    else if (kind === FrameType.ERROR) this.#receiveError(stream, meta);
    else if (kind === FrameType.BUSY) this.#receiveBusy(stream);
    else if (kind === FrameType.CREDIT) this.#receiveCredit(stream, body);
    else if (kind === FrameType.ABORT) this.#receiveAbort(stream, meta);
    else if (kind === FrameType.CALL || kind === FrameType.SPECIALISE) throw new ProtocolError(`type ${kind} from a replica`);
  }

  #receiveError(stream: number, meta: Buffer): void {
    const call = this.#findCall(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} has an ERROR after its head`);
    this.#forget(stream);
    call.sink.onError(parseErrorMeta(meta));
  }

  #receiveAbort(stream: number, meta: Buffer): void {
    const call = this.#findCall(stream);
    if (call === undefined) return;
    if (!call.hasHead) throw new ProtocolError(`stream ${stream} has an ABORT before its head`);
    this.#forget(stream);
    const message = parseMeta(meta)["message"];
    call.sink.onError(new KsError("FUNCTION_ERROR", { message: `Internal server error: the response stream failed: ${String(message)}` }));
  }

  #receiveBusy(stream: number): void {
    const call = this.#findCall(stream);
    if (call === undefined) return;
    if (call.hasHead) throw new ProtocolError(`stream ${stream} is BUSY after its head`);
    this.#forget(stream);
    call.sink.onNotStarted(new KsError("OVERLOADED"));
  }

  #receiveCredit(stream: number, body: Buffer): void {
    if (body.length !== 4) throw new ProtocolError("CREDIT needs 4 bytes");
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    call.sendCredit += body.readUInt32BE(0);
    this.#sendPieces(stream, call);
  }

  #receiveLog(meta: Buffer, body: Buffer): void {
    const fields = parseMeta(meta);
    const stream = fields["stream"] === "stderr" ? "stderr" : "stdout";
    if (stream === "stderr") this.noteStderr(body.toString("utf8"));
    const { requestId, timeMs, dropped } = fields;
    this.#options.onPrinted({
      stream,
      requestId: typeof requestId === "string" ? requestId.slice(0, 200) : undefined,
      timeMs: typeof timeMs === "number" && Number.isFinite(timeMs) && Math.abs(timeMs) < 8e15 ? timeMs : this.#clock.nowMs(),
      body,
      truncated: fields["truncated"] === true,
      dropped: typeof dropped === "number" && dropped > 0 && dropped < 1e15 ? Math.floor(dropped) : 0,
    });
  }

  /** Undefined for a call that was given up here, such as one that timed out, while the replica still answers it. */
  #findCall(stream: number): RunningCall | undefined {
    const call = this.#calls.get(stream);
    if (call === undefined) {
      if (stream > 0 && stream < this.#nextStream) return undefined;
      throw new ProtocolError(`stream ${stream} was never opened`);
    }
    if (!call.started) throw new ProtocolError("a response before READY");
    return call;
  }

  #forget(stream: number): void {
    this.#calls.delete(stream);
    if (this.#calls.size > 0) return;
    if (this.#quarantined) this.#endQuarantined();
    else if (this.#draining) this.#leave();
  }

  /** To drain, and without calls: what has a function ends by itself within a moment. */
  #leave(): void {
    if (this.#state === "ready") this.#endDrainedIn(LEAVE_TIMEOUT_MS);
    else this.#endBy("drained", sayDrained());
  }

  #endDrainedIn(delayMs: number): void {
    this.#leaveTimer.set(delayMs, () => this.#endBy("drained", sayDrained()));
  }

  /** hot */
  #sendCall(stream: number, call: RunningCall, meta: string, body: readonly Buffer[]): void {
    // What came before the transport may have ended already.
    if (this.#calls.get(stream) !== call) return;
    const pieces = cutPieces(body);
    const first = pieces.shift();
    this.#writer?.send(stream, FrameType.CALL, pieces.length > 0, meta, first);
    if (pieces.length > 0) {
      call.unsent = pieces;
      this.#sendPieces(stream, call);
    }
    if (this.#state === "ready") this.#startDeadline(call);
  }

  #sendPieces(stream: number, call: RunningCall): void {
    for (let piece = call.unsent[0]; piece !== undefined && call.sendCredit >= piece.length; piece = call.unsent[0]) {
      call.unsent.shift();
      call.sendCredit -= piece.length;
      this.#writer?.send(stream, FrameType.DATA, call.unsent.length > 0, "", piece);
    }
  }

  #becomeReady(): void {
    if (this.#state !== "specialising") throw new ProtocolError("READY without SPECIALISE");
    this.#state = "ready";
    this.#loadTimer?.cancel();
    for (const call of this.#calls.values()) this.#startDeadline(call);
    this.#onReady();
    if (this.#draining) this.#writer?.send(0, FrameType.DRAIN, false, "", undefined);
  }

  #failed(meta: Buffer): void {
    if (this.#state !== "specialising") throw new ProtocolError("FAILED without SPECIALISE");
    this.#endBy("failed", parseFailure(meta));
  }

  #loadTimedOut(): void {
    this.#endBy("failed", sayLoadTimedOut(this.#options.loadTimeoutMs));
  }

  #startDeadline(call: RunningCall): void {
    call.started = true;
    const nowMs = this.#clock.monotonicMs();
    call.deadlineMs = nowMs + call.timeoutMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
  }

  /** A stream's pause begins anew with each piece that comes, and with each that the caller has taken. */
  #noteProgress(call: RunningCall): void {
    const nowMs = this.#clock.monotonicMs();
    call.progressAtMs = nowMs;
    call.deadlineMs = nowMs + call.timeoutMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
  }

  /** The function may not send on before its caller has taken something: a slow caller is not the function's fault. */
  #awaitCaller(call: RunningCall): void {
    const nowMs = this.#clock.monotonicMs();
    const stallsAtMs = call.progressAtMs + Math.max(call.timeoutMs, STALL_TIMEOUT_MS);
    call.stalled = nowMs + 1 >= stallsAtMs;
    call.deadlineMs = call.stalled ? nowMs + call.timeoutMs : stallsAtMs;
    this.#deadlines.note(call.deadlineMs, nowMs);
    if (call.stalled) call.sink.onStalled();
  }

  #timeOut(stream: number, call: RunningCall): void {
    if (call.hasHead && call.receiveCredit < MAX_BODY_BYTES && !call.stalled) return this.#awaitCaller(call);
    this.#accepting = false;
    this.#quarantined = true;
    this.#writer?.send(stream, FrameType.CANCEL, false, "", undefined);
    this.#forget(stream);
    call.sink.onError(sayTimedOut(call.timeoutMs, call.hasHead));
    if (this.#calls.size > 0) this.#ping();
  }

  /** The other calls run to their own limits, unless the event loop is held: then they have no hope. */
  #ping(): void {
    if (this.#pingTimer !== undefined || this.#writer === undefined) return;
    this.#writer.send(0, FrameType.PING, false, "", Buffer.alloc(8));
    this.#pingTimer = this.#clock.setTimer(PING_TIMEOUT_MS, () => this.#endBy("held", sayHeld()));
  }

  #endPing(): void {
    this.#pingTimer?.cancel();
    this.#pingTimer = undefined;
  }

  #endQuarantined(): void {
    this.#endBy("killed", new KsError("TIMEOUT", { message: "The replica was stopped after a call in it timed out" }));
  }

  #breakOff(error: unknown): void {
    if (!(error instanceof ProtocolError)) throw error;
    this.#endBy("crashed", sayBroken(error));
  }

  /** Answers every call now; the exit is told when the process is gone. */
  #endBy(reason: ReplicaExitReason, error: KsError): void {
    if (this.#state === "ended" || this.#ending !== undefined) return;
    const wasReady = this.#state === "ready";
    this.#ending = { reason, error };
    this.#accepting = false;
    this.#readiness.reject(error);
    this.#settleAll(error, wasReady || reason === "failed");
    if (this.#transport === undefined) {
      this.#options.onAbandoned();
      this.end(reason, error);
    } else {
      this.#transport.kill();
    }
  }

  #settleAll(error: KsError, mayHaveStarted: boolean): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) {
      if (mayHaveStarted) call.sink.onError(error);
      else call.sink.onNotStarted(error);
    }
  }
}
