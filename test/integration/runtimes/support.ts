import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { encodeFrame, FrameDecoder, FrameType, parseMeta } from "../../../packages/server/src/protocol/frames.ts";

const NOTHING = Buffer.alloc(0);
const PIECE_BYTES = 65_536;
const WAIT_MS = 10_000;

export type Json = Record<string, unknown>;

/** A frame as it came, its meta parsed. */
export interface ShimFrame {
  stream: number;
  kind: number;
  more: boolean;
  meta: Json;
  body: Buffer;
}

/** What a replica is made of, with sane values for what a test does not care about. */
export interface Specialisation {
  code: string;
  handler: string;
  module?: "commonjs" | "esm";
  environment?: Record<string, string>;
  concurrency?: number;
  meta?: Json;
}

/** Everything that came back for a call, up to its last frame. */
export interface Answer {
  head: ShimFrame | undefined;
  body: Buffer;
  error: Json | undefined;
  abort: Json | undefined;
  isBusy: boolean;
}

export interface ShimCommand {
  command: readonly string[];
  environment?: Record<string, string>;
  /** Leaves what the replica sends unread until `resume`. */
  paused?: boolean;
}

/** A replica's process, spoken to as the gateway does. */
export class Shim {
  readonly process: ChildProcess;
  readonly frames: ShimFrame[] = [];
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  /** What came through descriptors 1 and 2, past the shim. */
  printed = "";
  readonly #socket: Duplex;
  readonly #waiters = new Set<() => void>();
  #nextStream = 1;

  constructor({ command, environment, paused }: ShimCommand) {
    this.process = spawn(command[0] ?? "", command.slice(1), {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: environment ?? { PATH: "/usr/bin:/bin", HOME: "/tmp", LANG: "C.UTF-8", TZ: "UTC" },
    });
    this.#socket = this.process.stdio[3] as Duplex;
    this.#socket.on("error", () => {});
    const decoder = new FrameDecoder((stream, kind, more, meta, body) => {
      this.frames.push({ stream, kind, more, meta: parseMeta(meta), body: Buffer.from(body) });
    });
    this.#socket.on("data", (chunk: Buffer) => {
      decoder.push(chunk);
      this.#wake();
    });
    if (paused) this.#socket.pause();
    for (const output of [this.process.stdout, this.process.stderr]) {
      output?.on("data", (chunk: Buffer) => {
        this.printed += chunk.toString();
        this.#wake();
      });
    }
    this.exited = new Promise((resolve) => {
      this.process.on("close", (code, signal) => {
        resolve({ code, signal });
        this.#wake();
      });
    });
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Ends the frame socket, as a gateway that dies does. */
  hangUp(): void {
    this.#socket.destroy();
  }

  /** Says that nothing more comes, and still reads. */
  endWriting(): void {
    this.#socket.end();
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  send(kind: number, stream: number, meta?: Json, body: Buffer | string = NOTHING, more = false): void {
    this.write(encode(kind, stream, meta, body, more));
  }

  /** The first frame that satisfies the condition, already there or still to come. */
  async wait(what: string, condition: (frame: ShimFrame) => boolean): Promise<ShimFrame> {
    await this.until(what, () => this.frames.some(condition));
    const found = this.frames.find(condition);
    assert(found !== undefined);
    return found;
  }

  /** Resolves once the condition holds; looks whenever something comes. */
  until(what: string, condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(check);
        reject(new Error(`waited ${WAIT_MS} ms for ${what}; printed: ${this.printed}; frames: ${summarize(this.frames)}`));
      }, WAIT_MS);
      const check = (): void => {
        const hasEnded = this.process.exitCode !== null || this.process.signalCode !== null;
        if (!condition()) {
          if (!hasEnded) return;
          clearTimeout(timer);
          this.#waiters.delete(check);
          reject(new Error(`the shim ended before ${what}; printed: ${this.printed}; frames: ${summarize(this.frames)}`));
          return;
        }
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve();
      };
      this.#waiters.add(check);
      check();
    });
  }

  /** Waits for HELLO. */
  async hello(): Promise<ShimFrame> {
    return this.wait("HELLO", (frame) => frame.kind === FrameType.HELLO);
  }

  sendSpecialise(specialisation: Specialisation): void {
    this.send(FrameType.SPECIALISE, 0, buildSpecialiseMeta(specialisation), buildSpecialiseBody(specialisation));
  }

  /** READY or FAILED, whichever comes. */
  async specialise(specialisation: Specialisation): Promise<ShimFrame> {
    await this.hello();
    this.sendSpecialise(specialisation);
    return this.wait("READY or FAILED", ({ kind }) => kind === FrameType.READY || kind === FrameType.FAILED);
  }

  /** Sends CALL, and DATA where the body is long, and tells the call's stream. */
  sendCall(body: Buffer | string = NOTHING, meta: Json = {}): number {
    const stream = this.#nextStream;
    this.#nextStream += 1;
    const bytes = Buffer.from(body);
    const pieces: Buffer[] = [];
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) pieces.push(bytes.subarray(offset, offset + PIECE_BYTES));
    const head = buildCallMeta(stream, meta);
    this.send(FrameType.CALL, stream, head, pieces[0] ?? NOTHING, pieces.length > 1);
    for (let i = 1; i < pieces.length; i += 1) this.send(FrameType.DATA, stream, undefined, pieces[i], i < pieces.length - 1);
    return stream;
  }

  /** Calls and waits for the whole answer, giving credit for all of it. */
  async call(body: Buffer | string = NOTHING, meta: Json = {}): Promise<Answer> {
    return this.answer(this.sendCall(body, meta));
  }

  /** The whole answer of a call; credit is given as DATA comes. */
  async answer(stream: number): Promise<Answer> {
    let seen = 0;
    await this.until(`the answer of call ${stream}`, () => {
      let credit = 0;
      let isOver = false;
      for (; seen < this.frames.length; seen += 1) {
        const frame = this.frames[seen];
        if (frame?.stream !== stream) continue;
        if (frame.kind === FrameType.DATA) credit += frame.body.length;
        isOver ||= endsAnswer(frame);
      }
      if (credit > 0 && !isOver) this.credit(stream, credit);
      return isOver;
    });
    return this.#collect(stream);
  }

  credit(stream: number, bytes: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt32BE(bytes);
    this.send(FrameType.CREDIT, stream, undefined, body);
  }

  #collect(stream: number): Answer {
    const frames = this.frames.filter((frame) => frame.stream === stream);
    const head = frames.find((frame) => frame.kind >= 200);
    const pieces = frames.filter((frame) => frame.kind >= 200 || frame.kind === FrameType.DATA);
    return {
      head,
      body: Buffer.concat(pieces.map((frame) => frame.body)),
      error: frames.find((frame) => frame.kind === FrameType.ERROR)?.meta,
      abort: frames.find((frame) => frame.kind === FrameType.ABORT)?.meta,
      isBusy: frames.some((frame) => frame.kind === FrameType.BUSY),
    };
  }

  /** How many bytes of DATA a call has sent so far. */
  dataBytes(stream: number): number {
    return this.frames
      .filter((frame) => frame.stream === stream && frame.kind === FrameType.DATA)
      .reduce((sum, { body }) => sum + body.length, 0);
  }

  /** The log so far, one entry a line, oldest first. */
  logLines(): { stream: unknown; requestId: unknown; truncated: unknown; text: string }[] {
    return this.frames
      .filter((frame) => frame.kind === FrameType.LOG)
      .flatMap(({ meta, body }) =>
        body
          .toString()
          .split("\n")
          .map((text) => ({ stream: meta["stream"], requestId: meta["requestId"], truncated: meta["truncated"], text })),
      );
  }

  /** Kills it, however it is, and waits until it is gone. */
  async stop(): Promise<void> {
    this.#socket.resume();
    this.process.kill("SIGKILL");
    await this.exited;
  }

  #wake(): void {
    for (const check of [...this.#waiters]) check();
  }
}

function encode(kind: number, stream: number, meta: Json | undefined, body: Buffer | string, more: boolean): Buffer {
  return encodeFrame(stream, kind, more, meta === undefined ? "" : JSON.stringify(meta), Buffer.from(body));
}

/** Ends a request's answer: the last piece, or what comes instead of it. */
function endsAnswer({ kind, more }: ShimFrame): boolean {
  if (kind === FrameType.ERROR || kind === FrameType.ABORT || kind === FrameType.BUSY) return true;
  return !more && (kind >= 200 || kind === FrameType.DATA);
}

export function buildSpecialiseMeta({ handler, module, concurrency, meta }: Specialisation): Json {
  const all: Json = {
    function: "hello",
    uid: "u-1",
    revision: 1,
    handler,
    concurrency: concurrency ?? 100,
    timeoutMs: 30_000,
    memoryMiB: 256,
    ...meta,
  };
  if (module !== undefined) all["module"] = module;
  return all;
}

export function buildSpecialiseBody({ environment, code }: Specialisation): Buffer {
  const json = Buffer.from(JSON.stringify(environment ?? {}));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, Buffer.from(code)]);
}

export function buildCallMeta(stream: number, meta: Json): Json {
  return {
    id: `request-${stream}`,
    method: "POST",
    path: "/invoke",
    query: {},
    headers: { "content-type": "application/json" },
    trigger: { type: "invoke" },
    timeoutMs: 30_000,
    ...meta,
  };
}

function summarize(frames: readonly ShimFrame[]): string {
  return JSON.stringify(
    frames.slice(-10).map(({ stream, kind, more, meta, body }) => [stream, kind, more, meta, body.toString().slice(0, 200)]),
  );
}
