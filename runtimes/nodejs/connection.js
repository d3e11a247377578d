"use strict";

const { mapDelete, mapGet, mapSet } = require("./builtins.js");
const { AnswerWriter } = require("./answer.js");
const { Call } = require("./call.js");
const { FrameWriter, MORE, ProtocolError, TYPE, WINDOW_BYTES, parseMeta, readUint32 } = require("./frames.js");
const { currentCall } = require("./log.js");

/** One gateway's frames: its streams, and what is written to it. Standalone there is one, in a pod there may be several. */
class Connection {
  #replica;
  #calls = new Map();
  #lastStream = 0;
  isClosed = false;

  constructor(replica, transport) {
    this.#replica = replica;
    this.transport = transport;
    this.writer = new FrameWriter(transport);
    this.writer.beforeFlush = () => replica.log.flush();
    this.answers = new AnswerWriter(this.writer, replica.log, (call) => this.#finish(call));
  }

  /** One frame of the gateway; the bytes are lent until it returns. */
  receive(kind, stream, bytes, metaStart, bodyStart, end) {
    const type = kind & ~MORE;
    const more = kind !== type;
    switch (type) {
      case TYPE.CALL:
        this.#onCall(stream, parseMeta(bytes, metaStart, bodyStart), bytes, bodyStart, end, more);
        break;
      case TYPE.DATA:
        this.#onData(stream, bytes, bodyStart, end, more);
        break;
      case TYPE.CREDIT:
        this.#onCredit(stream, bytes, bodyStart, end);
        break;
      case TYPE.CANCEL:
        this.#onCancel(stream);
        break;
      case TYPE.SPECIALISE:
        this.#replica.specialise(this, parseMeta(bytes, metaStart, bodyStart), bytes, bodyStart, end);
        break;
      case TYPE.PING:
        this.writer.bytes(TYPE.PONG, 0, this.#replica.describeLoad(), bytes, bodyStart, end);
        break;
      case TYPE.DRAIN:
        this.#replica.drain(this);
        break;
      default:
        if (type >= 200 || type <= TYPE.BUSY) throw new ProtocolError(`a gateway does not send kind ${type}`);
    }
  }

  /** The gateway is gone: nobody waits for its calls any more. */
  close() {
    if (this.isClosed) return;
    this.isClosed = true;
    this.transport.close();
    for (const stream of [...this.#calls.keys()]) this.#onCancel(stream);
  }

  #onCall(stream, meta, bytes, start, end, more) {
    if (!this.#replica.isSpecialised) throw new ProtocolError("CALL before SPECIALISE");
    if (stream <= this.#lastStream) throw new ProtocolError(`stream ${stream} is used again`);
    this.#lastStream = stream;
    if (!this.#replica.takePlace()) {
      this.writer.text(TYPE.BUSY, stream, "", "");
      return;
    }
    const call = new Call(this, stream, meta);
    mapSet(this.#calls, stream, call);
    if (more) {
      call.pieces = [];
      call.collect(bytes, start, end);
    } else {
      this.#replica.begin(call, bytes, start, end);
    }
  }

  #onData(stream, bytes, start, end, more) {
    const call = mapGet(this.#calls, stream);
    // A call that was refused, or is over, may have had data under way.
    if (call === undefined || call.pieces === null) return;
    call.collect(bytes, start, end);
    if (!more) {
      const body = call.takeBody();
      this.#replica.begin(call, body, 0, body.length);
      return;
    }
    call.uncredited += end - start;
    if (call.uncredited >= WINDOW_BYTES / 2) {
      this.writer.uint32(TYPE.CREDIT, stream, call.uncredited);
      call.uncredited = 0;
    }
  }

  #onCredit(stream, bytes, start, end) {
    if (end - start !== 4) throw new ProtocolError("CREDIT is not four bytes");
    const call = mapGet(this.#calls, stream);
    if (call === undefined) return;
    call.window += readUint32(bytes, start);
    if (call.onCredit !== null) call.onCredit();
  }

  #onCancel(stream) {
    const call = mapGet(this.#calls, stream);
    if (call === undefined) return;
    if (call.pieces !== null) {
      // The rest of the body will not come, so the handler never starts.
      call.pieces = null;
      this.#replica.refuse(call);
      return;
    }
    currentCall.run(call, cancelCall, call);
  }

  #finish(call) {
    mapDelete(this.#calls, call.stream);
    this.#replica.freePlace();
  }
}

function cancelCall(call) {
  call.cancel();
}

module.exports = { Connection };
