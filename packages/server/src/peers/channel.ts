import type { Socket } from "node:net";
import { FrameWriter } from "../protocol/frame-writer.ts";
import { type Frame, FrameDecoder, ProtocolError } from "../protocol/frames.ts";

/** Gets a connection's frames. Throwing a ProtocolError ends the connection. */
export type FrameHandler = (stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer) => void;

/** A connection's frames, read one by one while it is proven, and by a handler from then on. */
export class PeerChannel {
  /** Why it ended, once it has. */
  closedBy: Error | undefined;
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #closed = Promise.withResolvers<Error>();
  readonly #frames: Frame[] = [];
  #handler: FrameHandler | undefined;
  #next: PromiseWithResolvers<Frame> | undefined;
  #onBytes: () => void = () => undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#writer = new FrameWriter(socket);
    socket.setNoDelay(true);
    const decoder = new FrameDecoder((...frame) => this.#receive(...frame));
    socket.on("data", (chunk: Buffer) => {
      this.#onBytes();
      try {
        decoder.push(chunk);
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        this.close(error);
      }
    });
    socket.once("error", (error) => this.close(error));
    socket.once("end", () => this.close(new Error("the other side closed the connection")));
    socket.once("close", () => this.close(new Error("the connection closed")));
  }

  get writer(): FrameWriter {
    return this.#writer;
  }

  /** Resolves with the reason when it has ended. */
  get closed(): Promise<Error> {
    return this.#closed.promise;
  }

  get remoteAddress(): string {
    return this.#socket.remoteAddress ?? "";
  }

  /** hot: appends one frame; it leaves after this turn. */
  send(stream: number, kind: number, more: boolean, meta: string, body?: Buffer): void {
    if (this.closedBy === undefined) this.#writer.send(stream, kind, more, meta, body);
  }

  /** The next frame, which must be of this type, before the channel has a handler. @throws ProtocolError, or why it closed */
  async expect(kind: number): Promise<Frame> {
    if (this.closedBy !== undefined) throw this.closedBy;
    let frame = this.#frames.shift();
    if (frame === undefined) {
      this.#next = Promise.withResolvers();
      frame = await this.#next.promise;
    }
    if (frame.kind !== kind) throw new ProtocolError(`type ${frame.kind} before the connection is proven`);
    return frame;
  }

  /** From now on all frames go to the handler, those that came already first. */
  handle(handler: FrameHandler, onBytes: () => void): void {
    this.#handler = handler;
    this.#onBytes = onBytes;
    for (const { stream, kind, more, meta, body } of this.#frames.splice(0)) handler(stream, kind, more, meta, body);
  }

  close(reason: Error): void {
    if (this.closedBy !== undefined) return;
    this.closedBy = reason;
    this.#socket.destroy();
    this.#next?.reject(reason);
    this.#closed.resolve(reason);
  }

  #receive(stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (this.closedBy !== undefined) return;
    if (this.#handler !== undefined) return this.#handler(stream, kind, more, meta, body);
    const frame: Frame = { stream, kind, more, meta, body };
    if (this.#next !== undefined) {
      this.#next.resolve(frame);
      this.#next = undefined;
    } else if (this.#frames.length < MAX_EARLY_FRAMES) this.#frames.push(frame);
    else throw new ProtocolError("frames before the connection is proven");
  }
}

/** Frames that may come behind the last one of the proof while that is still verified. */
const MAX_EARLY_FRAMES = 64;
