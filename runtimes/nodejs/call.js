"use strict";

const { allocUnsafe, bytesSet, bytesSubarray } = require("./builtins.js");
const { ProtocolError, WINDOW_BYTES } = require("./frames.js");
const { LogSource } = require("./log.js");

const MAX_REQUEST_BYTES = 6 * 1024 * 1024 + 64 * 1024;

/** One call, from its CALL until the last frame of its answer. */
class Call {
  /** @param connection of the gateway that sent it */
  constructor(connection, stream, meta) {
    this.connection = connection;
    this.stream = stream;
    this.meta = meta;
    this.log = new LogSource(connection, stream, meta.id);
    this.startMs = 0;
    this.answered = false;
    this.cancelled = false;
    /** The request body while it arrives in pieces: a list, and how many bytes they are. */
    this.pieces = null;
    this.received = 0;
    this.uncredited = 0;
    /** How many bytes of DATA may still be sent, and who waits for more. */
    this.window = WINDOW_BYTES;
    this.onCredit = null;
    this.onCancel = null;
    this.controller = null;
  }

  /** Adds a piece of the request body. */
  collect(bytes, start, end) {
    this.received += end - start;
    if (this.received > MAX_REQUEST_BYTES) throw new ProtocolError(`a request body of more than ${MAX_REQUEST_BYTES} bytes`);
    if (end > start) this.pieces[this.pieces.length] = copyBytes(bytes, start, end);
  }

  /** The whole request body; no more of it is taken. */
  takeBody() {
    const whole = allocUnsafe(this.received);
    let offset = 0;
    for (let i = 0; i < this.pieces.length; i += 1) {
      bytesSet(whole, this.pieces[i], offset);
      offset += this.pieces[i].length;
    }
    this.pieces = null;
    return whole;
  }

  signal() {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.cancelled) this.controller.abort();
    }
    return this.controller.signal;
  }

  cancel() {
    this.cancelled = true;
    if (this.controller !== null) this.controller.abort();
    if (this.onCancel !== null) this.onCancel();
    if (this.onCredit !== null) this.onCredit();
  }
}

function copyBytes(bytes, start, end) {
  const copy = allocUnsafe(end - start);
  bytesSet(copy, bytesSubarray(bytes, start, end), 0);
  return copy;
}

module.exports = { Call, copyBytes };
