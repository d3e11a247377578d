import { isUtf8 } from "node:buffer";

/** The frame format of runtimes/PROTOCOL.md, version 1. */

export const PROTOCOL_VERSION = 1;
export const HEADER_BYTES = 12;
export const MAX_FRAME_LENGTH = 4 * 1024 * 1024;
/** Largest body of every frame but SPECIALISE. */
export const MAX_BODY_BYTES = 65_536;
export const MAX_META_BYTES = 65_535;
/** DATA bytes that each message may have under way before CREDIT comes. */
export const INITIAL_CREDIT_BYTES = 262_144;
export const MORE = 0x8000;

export const FrameType = {
  HELLO: 1,
  SPECIALISE: 2,
  READY: 3,
  FAILED: 4,
  CALL: 5,
  DATA: 6,
  CREDIT: 7,
  CANCEL: 8,
  ABORT: 9,
  ERROR: 10,
  LOG: 11,
  PING: 12,
  PONG: 13,
  DRAIN: 14,
  BUSY: 15,
  // In pods alone, from here on.
  CHALLENGE: 16,
  PROOF: 17,
  TOKEN: 18,
  CLAIM: 19,
  ANSWER: 20,
  TAKEN: 21,
  ARTIFACT: 22,
  BUILD: 23,
} as const;

/** What breaks the frame format; the connection cannot go on. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

export interface Frame {
  stream: number;
  /** Type (1 to 99) or HTTP status (200 to 599). */
  kind: number;
  more: boolean;
  meta: Buffer;
  body: Buffer;
}

const EMPTY = Buffer.alloc(0);

/** One whole frame in one buffer. */
export function encodeFrame(stream: number, kind: number, more: boolean, meta: string, body: Buffer): Buffer {
  const metaBytes = Buffer.byteLength(meta);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + metaBytes + body.length);
  writeHeader(frame, 0, stream, kind, more, metaBytes, body.length);
  frame.write(meta, HEADER_BYTES, "utf8");
  body.copy(frame, HEADER_BYTES + metaBytes);
  return frame;
}

/** hot: fills the 12 bytes at `offset`. */
export function writeHeader(
  target: Buffer,
  offset: number,
  stream: number,
  kind: number,
  more: boolean,
  metaBytes: number,
  bodyBytes: number,
): void {
  if (metaBytes > MAX_META_BYTES) throw new ProtocolError(`meta of ${metaBytes} bytes is over ${MAX_META_BYTES}`);
  target.writeUInt32BE(8 + metaBytes + bodyBytes, offset);
  target.writeUInt32BE(stream, offset + 4);
  target.writeUInt16BE(more ? kind | MORE : kind, offset + 8);
  target.writeUInt16BE(metaBytes, offset + 10);
}

/** Parses `meta`: an object, `{}` when empty. @throws ProtocolError */
export function parseMeta(meta: Buffer): Record<string, unknown> {
  if (meta.length === 0) return {};
  const text = meta.toString("utf8");
  // A string without U+FFFD came from valid bytes.
  if (text.includes("\ufffd") && !isUtf8(meta)) throw new ProtocolError("meta is not UTF-8");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ProtocolError("meta is not JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ProtocolError("meta is not an object");
  return value as Record<string, unknown>;
}

/**
 * Cuts a byte stream into frames. Bodies are views of the chunks they came in, not copies.
 * hot: `push` runs once a chunk, its loop once a frame.
 */
export class FrameDecoder {
  #rest: Buffer = EMPTY;
  readonly #onFrame: (stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer) => void;
  readonly #maxBodyBytes: number;

  /** @param maxBodyBytes {@link MAX_BODY_BYTES}, or more where SPECIALISE may come in. */
  constructor(
    onFrame: (stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer) => void,
    maxBodyBytes: number = MAX_BODY_BYTES,
  ) {
    this.#onFrame = onFrame;
    this.#maxBodyBytes = maxBodyBytes;
  }

  /** Bytes of a frame that has not come whole. */
  get pendingBytes(): number {
    return this.#rest.length;
  }

  /** @throws ProtocolError what comes after it is meaningless. */
  push(chunk: Buffer): void {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let offset = 0;
    while (data.length - offset >= HEADER_BYTES) {
      const length = data.readUInt32BE(offset);
      const metaBytes = data.readUInt16BE(offset + 10);
      this.#checkLength(length, metaBytes);
      const end = offset + 4 + length;
      if (end > data.length) break;
      const kind = data.readUInt16BE(offset + 8);
      const metaEnd = offset + HEADER_BYTES + metaBytes;
      checkKind(kind & ~MORE);
      this.#onFrame(
        data.readUInt32BE(offset + 4),
        kind & ~MORE,
        (kind & MORE) !== 0,
        metaBytes === 0 ? EMPTY : data.subarray(offset + HEADER_BYTES, metaEnd),
        metaEnd === end ? EMPTY : data.subarray(metaEnd, end),
      );
      offset = end;
    }
    this.#rest = offset === data.length ? EMPTY : data.subarray(offset);
  }

  #checkLength(length: number, metaBytes: number): void {
    if (length > MAX_FRAME_LENGTH) throw new ProtocolError(`length ${length} is over ${MAX_FRAME_LENGTH}`);
    const bodyBytes = length - 8 - metaBytes;
    if (bodyBytes < 0) throw new ProtocolError(`length ${length} is too small for ${metaBytes} bytes of meta`);
    if (bodyBytes > this.#maxBodyBytes) throw new ProtocolError(`body of ${bodyBytes} bytes is over ${this.#maxBodyBytes}`);
  }
}

function checkKind(kind: number): void {
  if (kind === 0 || kind > 599 || (kind >= 100 && kind < 200)) throw new ProtocolError(`kind ${kind} is neither a type nor a status`);
}
