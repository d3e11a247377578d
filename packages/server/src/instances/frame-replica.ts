import type { Duplex } from "node:stream";
import { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import { FrameDecoder, FrameType, MAX_BODY_BYTES, parseMeta, ProtocolError } from "../protocol/frames.ts";
import { FrameWriter } from "../protocol/frame-writer.ts";
import { CallStreams } from "./call-streams.ts";
import type { CallHandle, CallHead, CallSink, ReadyInfo, Replica, ReplicaExit, ReplicaExitReason, RevisionRef } from "./port.ts";
import { parsePrintedLines, type PrintedLines } from "./printed-lines.ts";
import { sayBroken, sayDisconnected, sayDrained, sayHeld, sayLoadTimedOut } from "./replica-errors.ts";
import { parseFailure } from "./replica-meta.ts";
import { SoonestTimer } from "./soonest-timer.ts";
import { encodeSpecialise, type Specialisation } from "./specialisation.ts";

/** A call that times out makes its replica prove within this time that its event loop still turns. */
const PING_TIMEOUT_MS = 1000;
/** Once it is to drain and has no calls, or has closed its connection, a process may take so long to end by itself. */
const LEAVE_TIMEOUT_MS = 2000;

/** What carries the frames and can be ended. */
export interface ReplicaTransport {
  readonly socket: Duplex;
  kill(): void;
}

export interface ReplicaLoad {
  inFlight: number;
  peakMiB: number | undefined;
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
  /** A replica that leaves by itself, such as a pod that is evicted, may take so long to end its calls. @default 0 */
  leaveGraceMs?: number;
  /** Once its connection is gone, whoever ended it may take so long to tell why. @default 2000 */
  tellGraceMs?: number;
  /** What a PONG says: calls within, of whichever gateway, and the highest memory use so far where that is known. */
  onLoad?(load: ReplicaLoad): void;
}

/** The life of one replica on the gateway's side, whatever carries its frames: starting, serving, ending. What breaks a rule of the frames ends it. */
export class FrameReplica implements Replica {
  readonly id: string;
  readonly revision: RevisionRef;
  readonly ready: Promise<ReadyInfo>;
  readonly exited: Promise<ReplicaExit>;
  readonly #options: FrameReplicaOptions;
  readonly #clock: Clock;
  readonly #streams: CallStreams;
  readonly #readiness = Promise.withResolvers<ReadyInfo>();
  readonly #exit = Promise.withResolvers<ReplicaExit>();
  #transport: ReplicaTransport | undefined;
  #writer: FrameWriter | undefined;
  #state: "starting" | "specialising" | "ready" | "ended" = "starting";
  #accepting = true;
  #loadTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  /** Ends what was asked to drain, or has cut its connection, and is still there. */
  readonly #leaveTimer: SoonestTimer;
  /** Set when we end it, so that the exit tells why. */
  #ending: { reason: ReplicaExitReason; error: KsError } | undefined;
  #lastStderr = "";
  #pongAtMs = 0;
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
    this.#streams = new CallStreams(options.clock, { onIdle: () => this.#becomeIdle(), onTimedOut: () => this.#quarantine() });
    this.ready = this.#readiness.promise;
    this.exited = this.#exit.promise;
    // A replica that nobody waits for may fail without being an unhandled rejection.
    this.ready.catch(() => undefined);
  }

  get inFlight(): number {
    return this.#streams.size;
  }

  get readyInfo(): ReadyInfo | undefined {
    return this.#readyInfo;
  }

  /** When the last PONG came, on the monotonic clock. */
  get pongAtMs(): number {
    return this.#pongAtMs;
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
    const writer = this.#attach(transport);
    this.#state = "specialising";
    const specialisedAtMs = this.#clock.monotonicMs();
    this.#onReady = () => {
      this.#readyInfo = {
        atMs: this.#clock.monotonicMs(),
        fromPool: specialisation.fromPool,
        startMs: specialisation.startMs,
        loadMs: this.#clock.monotonicMs() - specialisedAtMs,
        runtimeVersion: specialisation.runtimeVersion,
        ...(specialisation.compileMs === undefined ? {} : { compileMs: specialisation.compileMs }),
      };
      this.#readiness.resolve(this.#readyInfo);
    };
    if (specialisation.artifact !== undefined) sendArtifact(writer, specialisation.artifact);
    const { meta, body } = encodeSpecialise(this.revision, specialisation);
    writer.send(0, FrameType.SPECIALISE, false, meta, body);
    this.#loadTimer = this.#clock.setTimer(this.#options.loadTimeoutMs, () => this.#loadTimedOut());
    this.#streams.connect(writer);
    // The first call is given within this turn, so that it leaves in the same write.
    process.nextTick(() => writer.flush());
  }

  /** Connects a process that has been specialised before: another gateway's, or this one's before its restart. */
  adopt(transport: ReplicaTransport, ready: ReadyInfo): void {
    const writer = this.#attach(transport);
    this.#state = "ready";
    this.#readyInfo = ready;
    this.#readiness.resolve(ready);
    this.#streams.connect(writer);
    this.#streams.start();
  }

  /** Asks for PONG: that it is there, and how much memory it has taken. */
  ping(): void {
    this.#writer?.send(0, FrameType.PING, false, "", Buffer.alloc(8));
  }

  call(head: CallHead, body: readonly Buffer[], sink: CallSink): CallHandle {
    const call = this.#streams.open(head.encoded ?? JSON.stringify(head), head.timeoutMs, body, sink);
    call.requestId = head.id;
    return call;
  }

  drain(deadlineMs: number): void {
    this.#accepting = false;
    if (this.#state === "ended" || this.#ending !== undefined) return;
    if (!this.#draining && this.#state === "ready") this.#writer?.send(0, FrameType.DRAIN, false, "", undefined);
    this.#draining = true;
    if (this.#streams.size === 0) this.#leave();
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
    this.#streams.stop();
    for (const timer of [this.#loadTimer, this.#pingTimer, this.#leaveTimer]) timer?.cancel();
    this.#readiness.reject(why.error);
    this.#streams.settleAll(why.error, wasReady || why.reason === "failed");
    this.#exit.resolve(why);
  }

  /** Lines that the process wrote to descriptor 2 or through its shim last, for telling why it ended. */
  get lastStderr(): string {
    return this.#lastStderr;
  }

  /** READY has not been read: whether it was sent shows at the end of this turn of the event loop. */
  get loading(): boolean {
    return this.#state === "specialising";
  }

  /** Whose request it is that has just written to descriptor 1 or 2, where that is certain. */
  findPrinter(): string | undefined {
    return this.#streams.findPrinter();
  }

  noteStderr(text: string): void {
    this.#lastStderr = (this.#lastStderr + text).slice(-4096);
  }

  get ended(): boolean {
    return this.#state === "ended";
  }

  /** True where it leaves in order: nothing in it was given up. */
  get leaving(): boolean {
    return this.#draining && (this.#ending === undefined || this.#ending.reason === "drained");
  }

  /** True once the replica is to end and waits for its process to be gone. */
  get ending(): boolean {
    return this.#ending !== undefined || this.#draining;
  }

  #attach(transport: ReplicaTransport): FrameWriter {
    this.#transport = transport;
    const writer = new FrameWriter(transport.socket);
    this.#writer = writer;
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
    return writer;
  }

  /** Mostly its process ends, too, and tells better why; but a function may have closed the descriptor. */
  #connectionEnded(): void {
    this.#accepting = false;
    if (this.#state === "ended" || this.#ending !== undefined) return;
    // Why it ended is soon known: no call within is told that it was slow.
    this.#streams.stop();
    this.#leaveTimer.set(this.#options.tellGraceMs ?? LEAVE_TIMEOUT_MS, () => this.#endBy("crashed", sayDisconnected()));
  }

  /** hot: one frame of the replica. */
  #receive(stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (kind >= 200) this.#streams.receiveHead(stream, kind, more, meta, body);
    else if (kind === FrameType.DATA) this.#streams.receiveData(stream, more, body);
    else if (kind === FrameType.LOG) this.#receiveLog(meta, body);
    else if (kind === FrameType.CALL || kind === FrameType.SPECIALISE) throw new ProtocolError(`type ${kind} from a replica`);
    else if (stream === 0) this.#receiveControl(kind, meta);
    else this.#streams.receiveOther(stream, kind, meta, body);
  }

  #receiveControl(kind: number, meta: Buffer): void {
    if (kind === FrameType.READY) this.#becomeReady();
    else if (kind === FrameType.FAILED) this.#failed(meta);
    else if (kind === FrameType.PONG) this.#receivePong(meta);
    // It is to end, and answers BUSY from now on: nothing is sent behind our own DRAIN.
    else if (kind === FrameType.DRAIN) this.drain(this.#options.leaveGraceMs ?? 0);
    else if (kind === FrameType.HELLO) throw new ProtocolError("a second HELLO");
  }

  #receiveLog(meta: Buffer, body: Buffer): void {
    const lines = parsePrintedLines(meta, body, this.#clock.nowMs());
    if (lines.stream === "stderr") this.noteStderr(body.toString("utf8"));
    this.#options.onPrinted(lines);
  }

  #becomeReady(): void {
    if (this.#state !== "specialising") throw new ProtocolError("READY without SPECIALISE");
    this.#state = "ready";
    this.#loadTimer?.cancel();
    this.#streams.start();
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

  #becomeIdle(): void {
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

  /** The other calls run to their own limits, unless the event loop is held: then they have no hope. */
  #quarantine(): void {
    this.#accepting = false;
    this.#quarantined = true;
    if (this.#streams.size === 0) return this.#endQuarantined();
    if (this.#pingTimer !== undefined || this.#writer === undefined) return;
    this.#writer.send(0, FrameType.PING, false, "", Buffer.alloc(8));
    this.#pingTimer = this.#clock.setTimer(PING_TIMEOUT_MS, () => this.#endBy("held", sayHeld()));
  }

  #receivePong(meta: Buffer): void {
    this.#pongAtMs = this.#clock.monotonicMs();
    this.#endPing();
    if (this.#options.onLoad === undefined) return;
    const { inFlight, peakMiB } = parseMeta(meta);
    this.#options.onLoad({ inFlight: isFigure(inFlight) ? inFlight : 0, peakMiB: isFigure(peakMiB) ? peakMiB : undefined });
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
    this.#streams.settleAll(error, wasReady || reason === "failed");
    if (this.#transport === undefined) {
      this.#options.onAbandoned();
      this.end(reason, error);
    } else {
      this.#transport.kill();
    }
  }
}

function isFigure(value: unknown): value is number {
  return typeof value === "number" && value > 0 && value < 1e9;
}

function sendArtifact(writer: FrameWriter, artifact: Buffer): void {
  for (let at = 0; at < artifact.length; at += MAX_BODY_BYTES) {
    const piece = artifact.subarray(at, at + MAX_BODY_BYTES);
    writer.send(0, FrameType.ARTIFACT, at + MAX_BODY_BYTES < artifact.length, "", piece);
  }
}
