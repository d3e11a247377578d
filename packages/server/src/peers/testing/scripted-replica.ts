import { duplexPair } from "node:stream";
import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import { FrameReplica } from "../../instances/frame-replica.ts";
import type { CodeSource, Replica, ReplicaProvider, RevisionRef } from "../../instances/port.ts";
import { FrameWriter } from "../../protocol/frame-writer.ts";
import { FrameDecoder, FrameType, MAX_FRAME_LENGTH, parseMeta } from "../../protocol/frames.ts";
import { CreditedBody } from "../credited-body.ts";

const OK = JSON.stringify({ kind: "binary", headers: ["x-from", "replica"], durationMs: 2 });

/** What scripted replicas of one provider have seen. */
export interface ScriptedTrace {
  /** Ids of calls whose handler has begun. */
  begun: string[];
  cancelled: number;
  /** Ends the calls of `/hold`. */
  release: (() => void)[];
}

/**
 * Replicas whose gateway's side is the real one, and whose far side does what the call's path says: `/echo`, `/stream/<bytes>`,
 * `/hold` (until released), `/sleep/<ms>`, `/error`, `/abort`, `/who` (the provider's name).
 */
export class ScriptedProvider implements ReplicaProvider {
  readonly trace: ScriptedTrace = { begun: [], cancelled: 0, release: [] };
  readonly #name: string;
  readonly #clock: Clock;
  #count = 0;

  constructor(name: string, clock: Clock) {
    this.#name = name;
    this.#clock = clock;
  }

  startReplica(revision: RevisionRef, _code: CodeSource): Replica {
    const [near, far] = duplexPair({ highWaterMark: 1024 * 1024 });
    const replica = new FrameReplica({
      id: `${this.#name}-${this.#count++}`,
      revision,
      clock: this.#clock,
      loadTimeoutMs: 10_000,
      onPrinted: () => undefined,
      onAbandoned: () => undefined,
    });
    const writer = new FrameWriter(far);
    const streams = new Map<number, ScriptedStream>();
    const decoder = new FrameDecoder((stream, kind, more, meta, body) => {
      if (kind === FrameType.SPECIALISE) writer.send(0, FrameType.READY, false, JSON.stringify({ loadMs: 1 }), undefined);
      else if (kind === FrameType.CALL) {
        const opened = new ScriptedStream(stream, parseMeta(meta), writer, this.#name, this.trace);
        streams.set(stream, opened);
        opened.take(body, more);
      } else streams.get(stream)?.receive(kind, more, body);
    }, MAX_FRAME_LENGTH);
    far.on("data", (chunk: Buffer) => decoder.push(chunk));
    far.on("close", () => replica.end("drained", new KsError("DRAINING")));
    replica.specialise(
      { socket: near, kill: () => far.destroy() },
      { code: Buffer.from(""), module: "commonjs", concurrency: 100, runtimeVersion: "1", fromPool: true, startMs: 3 },
    );
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

  poolState(): Promise<[]> {
    return Promise.resolve([]);
  }

  async stop(): Promise<void> {}
}

class ScriptedStream {
  readonly #stream: number;
  readonly #meta: Record<string, unknown>;
  readonly #writer: FrameWriter;
  readonly #name: string;
  readonly #trace: ScriptedTrace;
  readonly #pieces: Buffer[] = [];
  #answer: CreditedBody | undefined;

  constructor(stream: number, meta: Record<string, unknown>, writer: FrameWriter, name: string, trace: ScriptedTrace) {
    this.#stream = stream;
    this.#meta = meta;
    this.#writer = writer;
    this.#name = name;
    this.#trace = trace;
  }

  receive(kind: number, more: boolean, body: Buffer): void {
    if (kind === FrameType.DATA) {
      const credit = Buffer.alloc(4);
      credit.writeUInt32BE(body.length);
      this.#writer.send(this.#stream, FrameType.CREDIT, false, "", credit);
      this.take(body, more);
    } else if (kind === FrameType.CREDIT) this.#answer?.grant(body.readUInt32BE(0));
    else if (kind === FrameType.CANCEL) this.#trace.cancelled++;
  }

  take(piece: Buffer, more: boolean): void {
    this.#pieces.push(piece);
    if (!more) this.#run(Buffer.concat(this.#pieces));
  }

  #run(body: Buffer): void {
    this.#trace.begun.push(String(this.#meta["id"]));
    const [, what, figure] = String(this.#meta["path"]).split("/");
    if (what === "echo") this.#respond(body);
    else if (what === "who") this.#respond(Buffer.from(this.#name));
    else if (what === "head") this.#respond(Buffer.from(JSON.stringify(this.#meta)));
    else if (what === "stream") this.#respond(Buffer.alloc(Number(figure), "s"));
    else if (what === "hold") this.#trace.release.push(() => this.#respond(Buffer.from("held")));
    else if (what === "sleep") setTimeout(() => this.#respond(Buffer.from(this.#name)), Number(figure));
    else if (what === "error")
      this.#fail(FrameType.ERROR, { code: "FUNCTION_ERROR", type: "TypeError", message: "x is not y", stack: "at f", durationMs: 7 });
    else if (what === "abort") {
      this.#writer.send(this.#stream, 200, true, OK, Buffer.from("begun"));
      this.#fail(FrameType.ABORT, { message: "torn" });
    }
  }

  #respond(body: Buffer): void {
    if (body.length <= 1024) return this.#writer.send(this.#stream, 201, false, OK, body);
    this.#writer.send(this.#stream, 201, true, OK, Buffer.alloc(0));
    this.#answer = new CreditedBody((piece, more) => this.#writer.send(this.#stream, FrameType.DATA, more, "", piece));
    this.#answer.push(body);
    this.#answer.end();
  }

  #fail(kind: number, meta: object): void {
    this.#writer.send(this.#stream, kind, false, JSON.stringify(meta), undefined);
  }
}
