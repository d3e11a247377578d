"use strict";

const { jsonStringify, mapDelete, mapGet, mapSet, now, utf8Slice } = require("./builtins.js");
const { AnswerWriter, elapsedMs } = require("./answer.js");
const { Call, copyBytes } = require("./call.js");
const { Context, buildFunctionFacts } = require("./context.js");
const { applyEnvironment } = require("./environment.js");
const { buildEvent } = require("./event.js");
const { FrameParser, FrameWriter, MORE, ProtocolError, TYPE, WINDOW_BYTES, parseMeta, readUint32 } = require("./frames.js");
const { loadHandler } = require("./load.js");
const { Log, currentCall, setActiveLog } = require("./log.js");

/** The life of a replica, from HELLO to its end, as frames see it. */
class Replica {
  #exit;
  #parser;
  #answers;
  #calls = new Map();
  #inFlight = 0;
  #lastStream = 0;
  #facts = null;
  #handler = null;
  #concurrency = 1;
  /** Calls that came before READY, with their bodies; null outside of that time. */
  #waiting = null;
  #draining = false;

  /**
   * @param transport `write(bytes, length)` takes bytes, `queuedBytes` tells how many the gateway has not taken yet
   * @param exit ends the process with a code, once what was written is out
   */
  constructor(transport, exit) {
    this.#exit = exit;
    this.writer = new FrameWriter(transport);
    this.log = new Log(this.writer, transport);
    this.#answers = new AnswerWriter(this.writer, this.log, (call) => this.#finish(call));
    this.writer.beforeFlush = () => this.log.flush();
    this.#parser = new FrameParser((kind, stream, bytes, metaStart, bodyStart, end) =>
      this.#onFrame(kind, stream, bytes, metaStart, bodyStart, end),
    );
    setActiveLog(this.log);
  }

  hello() {
    this.writer.text(TYPE.HELLO, 0, `{"protocol":1,"language":"nodejs","version":"${process.versions.node}","inFlight":0}`, "");
  }

  receive(chunk, length) {
    this.#parser.push(chunk, length);
  }

  #onFrame(kind, stream, bytes, metaStart, bodyStart, end) {
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
        this.#onSpecialise(parseMeta(bytes, metaStart, bodyStart), bytes, bodyStart, end);
        break;
      case TYPE.PING:
        this.writer.bytes(TYPE.PONG, 0, `{"inFlight":${this.#inFlight}}`, bytes, bodyStart, end);
        break;
      case TYPE.DRAIN:
        this.#draining = true;
        this.#leaveWhenDrained();
        break;
      default:
        if (type >= 200 || type <= TYPE.BUSY) throw new ProtocolError(`a gateway does not send kind ${type}`);
    }
  }

  #onSpecialise(meta, bytes, start, end) {
    if (this.#facts !== null) throw new ProtocolError("a second SPECIALISE");
    const codeStart = start + 4 + readUint32(bytes, start);
    if (end - start < 4 || codeStart > end) throw new ProtocolError("SPECIALISE is too short for its environment");
    const startMs = now();
    this.#facts = buildFunctionFacts(meta);
    this.#concurrency = meta.concurrency;
    applyEnvironment(utf8Slice(bytes, start + 4, codeStart));
    try {
      const loaded = loadHandler(meta, utf8Slice(bytes, codeStart, end));
      if (loaded instanceof Promise) {
        this.#waiting = [];
        void this.#finishLoading(loaded, startMs);
      } else {
        this.#ready(loaded, startMs);
      }
    } catch (failure) {
      this.#fail(failure);
    }
  }

  async #finishLoading(loading, startMs) {
    let loaded;
    try {
      loaded = await loading;
    } catch (failure) {
      this.#fail(failure);
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#ready(loaded, startMs);
    for (let i = 0; i < waiting.length; i += 1) {
      const { call, body } = waiting[i];
      // Who has left meanwhile needs no handler any more.
      if (body === null || call.cancelled) this.#refuse(call);
      else this.#begin(call, body, 0, body.length);
    }
  }

  #ready(loaded, startMs) {
    this.#handler = loaded;
    this.log.flush();
    this.writer.text(TYPE.READY, 0, `{"loadMs":${elapsedMs(startMs)}}`, "");
    // Out before the first call: one that holds the event loop would pass for code that does not load.
    this.writer.flush();
  }

  #fail(failure) {
    this.log.end();
    const reason = failure.reason ?? "LoadError";
    this.writer.text(TYPE.FAILED, 0, `{"reason":${jsonStringify(reason)},"message":${jsonStringify(failure.message)}}`, "");
    this.#exit(1);
  }

  #onCall(stream, meta, bytes, start, end, more) {
    if (this.#facts === null) throw new ProtocolError("CALL before SPECIALISE");
    if (stream <= this.#lastStream) throw new ProtocolError(`stream ${stream} is used again`);
    this.#lastStream = stream;
    if (this.#draining || this.#inFlight >= this.#concurrency) {
      this.writer.text(TYPE.BUSY, stream, "", "");
      return;
    }
    this.#inFlight += 1;
    const call = new Call(stream, meta);
    mapSet(this.#calls, stream, call);
    if (more) {
      call.pieces = [];
      call.collect(bytes, start, end);
    } else {
      this.#begin(call, bytes, start, end);
    }
  }

  #onData(stream, bytes, start, end, more) {
    const call = mapGet(this.#calls, stream);
    // A call that was refused, or is over, may have had data under way.
    if (call === undefined || call.pieces === null) return;
    call.collect(bytes, start, end);
    if (!more) {
      const body = call.takeBody();
      this.#begin(call, body, 0, body.length);
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
      this.#refuse(call);
      return;
    }
    currentCall.run(call, cancelCall, call);
  }

  #begin(call, bytes, start, end) {
    if (this.#waiting !== null) {
      this.#waiting[this.#waiting.length] = { call, body: copyBytes(bytes, start, end) };
      return;
    }
    const event = buildEvent(call.meta, bytes, start, end);
    if (event === null) this.#refuse(call);
    else currentCall.run(call, invoke, this, call, event);
  }

  /** The call's body is not what it should be; like every answer this waits for READY. */
  #refuse(call) {
    if (this.#waiting !== null) {
      this.#waiting[this.#waiting.length] = { call, body: null };
      return;
    }
    this.#answers.refuse(call);
  }

  /** Runs the handler; called with the call as the current one. */
  invoke(call, event) {
    const { call: handler, takesCallback } = this.#handler;
    call.startMs = now();
    const context = new Context(this.#facts, call);
    let result;
    try {
      result = takesCallback ? handler(event, context, (error, value) => this.#onCallback(call, error, value)) : handler(event, context);
      if (result !== null && typeof result === "object" && typeof result.then === "function") {
        void this.#settle(call, result);
        return;
      }
    } catch (error) {
      this.#answers.fail(call, error);
      return;
    }
    if (!takesCallback) this.#answers.answer(call, result);
  }

  async #settle(call, promise) {
    let value;
    try {
      value = await promise;
    } catch (error) {
      this.#answers.fail(call, error);
      return;
    }
    this.#answers.answer(call, value);
  }

  #onCallback(call, error, value) {
    if (error === undefined || error === null) this.#answers.answer(call, value);
    else this.#answers.fail(call, error);
  }

  #finish(call) {
    mapDelete(this.#calls, call.stream);
    this.#inFlight -= 1;
    if (this.#draining) this.#leaveWhenDrained();
  }

  #leaveWhenDrained() {
    if (this.#inFlight > 0) return;
    this.#exit(0);
  }
}

function invoke(replica, call, event) {
  replica.invoke(call, event);
}

function cancelCall(call) {
  call.cancel();
}

module.exports = { Replica };
