import type { Writable } from "node:stream";
import { HEADER_BYTES, writeHeader } from "./frames.ts";

const SLAB_BYTES = 64 * 1024;
/** So many frames leave without waiting for the rest of the turn: the other side works on them while this one reads on. */
const EAGER_FRAMES = 8;
/** Bodies above this go out as they are, without a copy. */
const COPY_BYTES = 4 * 1024;

/**
 * Gathers the frames of one turn of the event loop into few writes.
 * Bytes once handed to `write` are never touched again: a slab is filled from the front and replaced when full.
 */
export class FrameWriter {
  readonly #socket: Writable;
  #slab: Buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #parts: Buffer[] = [];
  #scheduled = false;
  #gathered = 0;
  /** How often what was gathered has left: a frame has left once this is more than it was when it was sent. */
  flushes = 0;
  readonly #endTurn = (): void => {
    this.#scheduled = false;
    if (this.#gathered > 0) this.flush();
  };

  constructor(socket: Writable) {
    this.#socket = socket;
  }

  /** hot: appends one frame; it leaves after this turn at the latest. */
  send(stream: number, kind: number, more: boolean, meta: string, body: Buffer | undefined): void {
    const bodyBytes = body === undefined ? 0 : body.length;
    const copied = bodyBytes <= COPY_BYTES ? bodyBytes : 0;
    // A UTF-16 unit takes at most 3 bytes of UTF-8, so this room is enough before the exact size is known.
    this.#reserve(HEADER_BYTES + meta.length * 3 + copied);
    const metaBytes = meta.length === 0 ? 0 : this.#slab.write(meta, this.#end + HEADER_BYTES, "utf8");
    writeHeader(this.#slab, this.#end, stream, kind, more, metaBytes, bodyBytes);
    this.#end += HEADER_BYTES + metaBytes;
    if (body !== undefined && bodyBytes > 0) {
      if (copied > 0) {
        body.copy(this.#slab, this.#end);
        this.#end += bodyBytes;
      } else {
        this.#cut();
        this.#parts.push(body);
      }
    }
    if (++this.#gathered >= EAGER_FRAMES) return this.flush();
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(this.#endTurn);
    }
  }

  /** Writes what was gathered now. */
  flush(): void {
    this.#gathered = 0;
    this.flushes++;
    if (this.#socket.destroyed) {
      this.#parts = [];
      this.#start = this.#end;
      return;
    }
    if (this.#parts.length === 0) {
      if (this.#end > this.#start) this.#socket.write(this.#take());
      return;
    }
    this.#cut();
    const parts = this.#parts;
    this.#parts = [];
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  #reserve(bytes: number): void {
    if (this.#slab.length - this.#end >= bytes) return;
    this.#cut();
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes));
    this.#start = 0;
    this.#end = 0;
  }

  #take(): Buffer {
    const piece = this.#slab.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return piece;
  }

  #cut(): void {
    if (this.#end > this.#start) this.#parts.push(this.#take());
  }
}
