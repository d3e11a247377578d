"use strict";

const {
  allocUnsafe,
  allocUnsafeSlow,
  bytesSet,
  bytesSubarray,
  isArray,
  isUtf8,
  jsonParse,
  setImmediate,
  stringIndexOf,
  utf8Slice,
  utf8Write,
} = require("./builtins.js");

const TYPE = Object.freeze({
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
  CHALLENGE: 16,
  PROOF: 17,
  TOKEN: 18,
  CLAIM: 19,
  ANSWER: 20,
  TAKEN: 21,
});
const MORE = 0x8000;
const HEAD_BYTES = 12;
const MAX_FRAME_LENGTH = 4 * 1024 * 1024;
const MAX_BODY_BYTES = 65_536;
const MAX_META_BYTES = 65_535;
/** Text of so many UTF-16 units is never more bytes than a body may have. */
const MAX_TEXT_UNITS = Math.floor(MAX_BODY_BYTES / 3);
const WINDOW_BYTES = 262_144;
// Room for the longest meta and text, counted at the three bytes a unit that UTF-8 may take.
const GATHER_BYTES = HEAD_BYTES + 3 * MAX_META_BYTES + 3 * MAX_TEXT_UNITS + MAX_BODY_BYTES;

class ProtocolError extends Error {}

function readUint32(bytes, offset) {
  return bytes[offset] * 0x1000000 + ((bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3]);
}

function writeUint32(bytes, offset, value) {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

/** The meta of a frame as an object. */
function parseMeta(bytes, start, end) {
  if (start === end) return {};
  const text = utf8Slice(bytes, start, end);
  if (!isValidUtf8(text, bytes, start, end)) throw new ProtocolError("meta is not UTF-8");
  let meta;
  try {
    meta = jsonParse(text);
  } catch {
    throw new ProtocolError("meta is not JSON");
  }
  if (meta === null || typeof meta !== "object" || isArray(meta)) throw new ProtocolError("meta is not an object");
  return meta;
}

/** True when the bytes are UTF-8; `text` is what they decode to. A string without U+FFFD came from valid bytes. */
function isValidUtf8(text, bytes, start, end) {
  return stringIndexOf(text, "\ufffd") === -1 || isUtf8(bytesSubarray(bytes, start, end));
}

/**
 * Cuts what arrives into frames. A frame that lies whole in a chunk is read in place; one that is split is copied once,
 * into a buffer of its own size. The bytes handed to `onFrame` are only lent until it returns.
 */
class FrameParser {
  #onFrame;
  /** The split frame; four bytes long as long as its length is unknown. */
  #partial = null;
  #have = 0;
  /** The longest frame that is taken. */
  maxLength = MAX_FRAME_LENGTH;

  /** @param onFrame (kind, stream, bytes, metaStart, bodyStart, end) */
  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  push(chunk, length) {
    let offset = this.#partial === null ? 0 : this.#fill(chunk, 0, length);
    while (length - offset >= 4) {
      const end = offset + 4 + this.#readLength(chunk, offset);
      if (end > length) break;
      this.#emit(chunk, offset, end);
      offset = end;
    }
    if (offset === length) return;
    this.#partial = allocUnsafe(4);
    this.#fill(chunk, offset, length);
  }

  #readLength(bytes, offset) {
    const length = readUint32(bytes, offset);
    if (length < 8 || length > this.maxLength) throw new ProtocolError(`frame length ${length}`);
    return length;
  }

  /** Adds bytes to the split frame and returns the offset behind those that it took. */
  #fill(chunk, start, length) {
    let offset = start;
    while (this.#partial !== null) {
      const partial = this.#partial;
      const taken = Math.min(partial.length - this.#have, length - offset);
      bytesSet(partial, bytesSubarray(chunk, offset, offset + taken), this.#have);
      this.#have += taken;
      offset += taken;
      if (this.#have < partial.length) return offset;
      if (partial.length === 4) {
        this.#partial = allocUnsafeSlow(4 + this.#readLength(partial, 0));
        bytesSet(this.#partial, partial, 0);
      } else {
        this.#partial = null;
        this.#have = 0;
        this.#emit(partial, 0, partial.length);
      }
    }
    return offset;
  }

  #emit(bytes, start, end) {
    const kind = (bytes[start + 8] << 8) | bytes[start + 9];
    const metaStart = start + HEAD_BYTES;
    const bodyStart = metaStart + ((bytes[start + 10] << 8) | bytes[start + 11]);
    const type = kind & ~MORE;
    if (bodyStart > end) throw new ProtocolError("meta longer than its frame");
    if (type === 0 || (type > 99 && type < 200) || type > 599) throw new ProtocolError(`kind ${type}`);
    if (end - bodyStart > MAX_BODY_BYTES && type !== TYPE.SPECIALISE) throw new ProtocolError(`body of ${end - bodyStart} bytes`);
    this.#onFrame(kind, readUint32(bytes, start + 4), bytes, metaStart, bodyStart, end);
  }
}

/**
 * Gathers the frames of one turn of the event loop into one write. `transport.write(bytes, length)` has taken the bytes
 * when it returns, so that the same buffer serves every turn.
 */
class FrameWriter {
  #transport;
  #bytes = allocUnsafeSlow(GATHER_BYTES);
  #used = 0;
  #scheduled = false;
  #flush = () => {
    this.#scheduled = false;
    this.flush();
  };

  /** Called before a turn's frames are written: who gathers by itself adds its own now. */
  beforeFlush = null;

  constructor(transport) {
    this.#transport = transport;
  }

  /** A frame whose body is text of at most MAX_TEXT_UNITS. */
  text(kind, stream, meta, text) {
    let offset = this.#begin(meta.length * 3 + text.length * 3);
    const metaBytes = meta === "" ? 0 : utf8Write(this.#bytes, meta, offset + HEAD_BYTES);
    offset += HEAD_BYTES + metaBytes;
    if (text !== "") offset += utf8Write(this.#bytes, text, offset);
    this.#end(kind, stream, metaBytes, offset);
  }

  /** A frame whose body is a part of some bytes. */
  bytes(kind, stream, meta, bytes, start, end) {
    let offset = this.#begin(meta.length * 3 + end - start);
    const metaBytes = meta === "" ? 0 : utf8Write(this.#bytes, meta, offset + HEAD_BYTES);
    offset += HEAD_BYTES + metaBytes;
    bytesSet(this.#bytes, start === 0 && end === bytes.length ? bytes : bytesSubarray(bytes, start, end), offset);
    this.#end(kind, stream, metaBytes, offset + end - start);
  }

  uint32(kind, stream, value) {
    const offset = this.#begin(4);
    writeUint32(this.#bytes, offset + HEAD_BYTES, value);
    this.#end(kind, stream, 0, offset + HEAD_BYTES + 4);
  }

  #begin(room) {
    if (GATHER_BYTES - this.#used < HEAD_BYTES + room) this.#send();
    return this.#used;
  }

  #end(kind, stream, metaBytes, end) {
    const bytes = this.#bytes;
    const start = this.#used;
    writeUint32(bytes, start, end - start - 4);
    writeUint32(bytes, start + 4, stream);
    bytes[start + 8] = kind >>> 8;
    bytes[start + 9] = kind;
    bytes[start + 10] = metaBytes >>> 8;
    bytes[start + 11] = metaBytes;
    this.#used = end;
    this.schedule();
  }

  /** Makes sure that a flush comes at the end of this turn. */
  schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  flush() {
    if (this.beforeFlush !== null) this.beforeFlush();
    this.#send();
  }

  #send() {
    if (this.#used === 0) return;
    const used = this.#used;
    this.#used = 0;
    this.#transport.write(this.#bytes, used);
  }
}

module.exports = {
  TYPE,
  MAX_FRAME_LENGTH,
  MORE,
  MAX_BODY_BYTES,
  MAX_META_BYTES,
  MAX_TEXT_UNITS,
  WINDOW_BYTES,
  ProtocolError,
  FrameParser,
  FrameWriter,
  parseMeta,
  isValidUtf8,
  readUint32,
};
