"use strict";

const { allocUnsafe, bytesSet, bytesSubarray, mapDelete, mapGet, mapSet, now, utf8Slice, bufferFrom, jsonStringify, byteLength } =
  require("./builtins.js");
const { Context, buildFunctionFacts } = require("./context.js");
const { applyEnvironment } = require("./environment.js");
const { describeError } = require("./errors.js");
const { buildEvent } = require("./event.js");
const {
  FrameParser,
  FrameWriter,
  MAX_BODY_BYTES,
  MAX_META_BYTES,
  MAX_TEXT_UNITS,
  MORE,
  ProtocolError,
  TYPE,
  WINDOW_BYTES,
  parseMeta,
  readUint32,
} = require("./frames.js");
const { loadHandler } = require("./load.js");
const { Log, LogSource, currentCall, setActiveLog } = require("./log.js");
const { buildResponse } = require("./response.js");
const { sendStream } = require("./stream.js");

const MAX_REQUEST_BYTES = 6 * 1024 * 1024 + 64 * 1024;
const MAX_RESPONSE_BYTES = 6 * 1024 * 1024;

/** One call, from its CALL until the last frame of its answer. */
class Call {
  constructor(stream, meta) {
    this.stream = stream;
    this.meta = meta;
    this.log = new LogSource(stream, meta.id);
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

/** The life of a replica, from HELLO to its end, as frames see it. */
class Replica {
  #transport;
  #exit;
  #parser;
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
    this.#transport = transport;
    this.#exit = exit;
    this.writer = new FrameWriter(transport);
    this.log = new Log(this.writer, transport);
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
        this.#finishLoading(loaded, startMs);
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
      if (body === null) this.#refuse(call);
      else this.#begin(call, body, 0, body.length);
    }
  }

  #ready(loaded, startMs) {
    this.#handler = loaded;
    this.log.flush();
    this.writer.text(TYPE.READY, 0, `{"loadMs":${elapsedMs(startMs)}}`, "");
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
      this.#collect(call, bytes, start, end);
    } else {
      this.#begin(call, bytes, start, end);
    }
  }

  #onData(stream, bytes, start, end, more) {
    const call = mapGet(this.#calls, stream);
    // A call that was refused, or is over, may have had data under way.
    if (call === undefined || call.pieces === null) return;
    this.#collect(call, bytes, start, end);
    if (!more) {
      const body = joinPieces(call.pieces, call.received);
      call.pieces = null;
      this.#begin(call, body, 0, body.length);
      return;
    }
    call.uncredited += end - start;
    if (call.uncredited >= WINDOW_BYTES / 2) {
      this.writer.uint32(TYPE.CREDIT, stream, call.uncredited);
      call.uncredited = 0;
    }
  }

  #collect(call, bytes, start, end) {
    call.received += end - start;
    if (call.received > MAX_REQUEST_BYTES) throw new ProtocolError(`a request body of more than ${MAX_REQUEST_BYTES} bytes`);
    if (end > start) call.pieces[call.pieces.length] = copyBytes(bytes, start, end);
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
    call.startMs = now();
    this.#sendError(call, "INVALID_REQUEST", "InvalidRequest", "Invalid request body", "");
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
        this.#settle(call, result);
        return;
      }
    } catch (error) {
      this.#answerError(call, error);
      return;
    }
    if (!takesCallback) this.#answer(call, result);
  }

  async #settle(call, promise) {
    let value;
    try {
      value = await promise;
    } catch (error) {
      this.#answerError(call, error);
      return;
    }
    this.#answer(call, value);
  }

  #onCallback(call, error, value) {
    if (error === undefined || error === null) this.#answer(call, value);
    else this.#answerError(call, error);
  }

  #answer(call, value) {
    if (call.answered) return;
    call.answered = true;
    let response;
    try {
      response = buildResponse(value);
    } catch (error) {
      this.#sendFunctionError(call, error);
      return;
    }
    if (response.kind === "stream") this.#sendStream(call, response);
    else this.#send(call, response);
  }

  #answerError(call, error) {
    if (call.answered) return;
    call.answered = true;
    this.#sendFunctionError(call, error);
  }

  #send(call, response) {
    const meta = headMeta(call, response.kind, response.headers);
    if (meta === null) {
      this.#sendError(call, "FUNCTION_ERROR", "FunctionError", `the response's headers are longer than ${MAX_META_BYTES} bytes`, "");
      return;
    }
    const { body } = response;
    if (typeof body === "string" && body.length <= MAX_TEXT_UNITS) {
      this.#endLog(call);
      this.writer.text(response.status, call.stream, meta, body);
      this.#finish(call);
      return;
    }
    const size = typeof body === "string" ? (body.length > MAX_RESPONSE_BYTES ? body.length : byteLength(body)) : body.length;
    if (size > MAX_RESPONSE_BYTES) {
      const message = `The response has ${size} bytes, the limit is ${MAX_RESPONSE_BYTES}: return a stream instead`;
      this.#sendError(call, "RESPONSE_TOO_LARGE", "ResponseTooLarge", message, "");
      return;
    }
    this.#sendBytes(call, response.status, meta, typeof body === "string" ? bufferFrom(body, "utf8") : body);
  }

  #sendBytes(call, status, meta, bytes) {
    const first = Math.min(bytes.length, MAX_BODY_BYTES);
    const isWhole = first === bytes.length;
    if (isWhole) this.#endLog(call);
    this.writer.bytes(isWhole ? status : status | MORE, call.stream, meta, bytes, 0, first);
    if (isWhole) {
      this.#finish(call);
      return;
    }
    let offset = first;
    call.onCredit = () => {
      if (call.cancelled) {
        this.#abort(call, "the caller went away");
        return;
      }
      while (offset < bytes.length && call.window > 0) {
        const end = offset + Math.min(MAX_BODY_BYTES, call.window, bytes.length - offset);
        call.window -= end - offset;
        const isLast = end === bytes.length;
        if (isLast) this.#endLog(call);
        this.writer.bytes(isLast ? TYPE.DATA : TYPE.DATA | MORE, call.stream, "", bytes, offset, end);
        offset = end;
        if (isLast) this.#finish(call);
      }
    };
    call.onCredit();
  }

  async #sendStream(call, response) {
    const sink = {
      begin: (kind, piece) => {
        const meta = headMeta(call, kind, response.headers);
        if (meta === null) throw new RangeError(`the response's headers are longer than ${MAX_META_BYTES} bytes`);
        this.writer.bytes(response.status | MORE, call.stream, meta, piece, 0, piece.length);
      },
      data: (piece) => this.writer.bytes(TYPE.DATA | MORE, call.stream, "", piece, 0, piece.length),
    };
    const outcome = await sendStream(call, response.body, sink);
    if (outcome.error !== undefined && !outcome.hasBegun) {
      this.#sendFunctionError(call, outcome.error);
    } else if (outcome.error !== undefined) {
      this.#abort(call, describeError(outcome.error).message);
    } else if (outcome.hasBegun) {
      this.#endLog(call);
      this.writer.text(TYPE.DATA, call.stream, "", "");
      this.#finish(call);
    } else {
      this.#send(call, { status: response.status, headers: response.headers, kind: "text", body: "" });
    }
  }

  #sendFunctionError(call, error) {
    const { type, message, stack } = describeError(error);
    this.#sendError(call, "FUNCTION_ERROR", type, message, stack);
  }

  #sendError(call, code, type, message, stack) {
    const start = `{"code":"${code}","type":${jsonStringify(type)},"message":${jsonStringify(message)}`;
    const end = `,"durationMs":${elapsedMs(call.startMs)}}`;
    const whole = stack === "" ? start + end : `${start},"stack":${jsonStringify(stack)}${end}`;
    this.#endLog(call);
    this.writer.text(TYPE.ERROR, call.stream, byteLength(whole) <= MAX_META_BYTES ? whole : start + end, "");
    this.#finish(call);
  }

  #abort(call, message) {
    this.#endLog(call);
    this.writer.text(TYPE.ABORT, call.stream, `{"message":${jsonStringify(message)}}`, "");
    this.#finish(call);
  }

  /** What a call has printed goes out before the last frame of its answer. */
  #endLog(call) {
    this.log.endCall(call.log);
  }

  #finish(call) {
    mapDelete(this.#calls, call.stream);
    this.#inFlight -= 1;
    call.onCredit = null;
    call.onCancel = null;
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

/** `meta` of a response's head, or null where its headers make it too long. */
function headMeta(call, kind, headers) {
  const durationMs = elapsedMs(call.startMs);
  if (headers === "") return `{"kind":"${kind}","durationMs":${durationMs}}`;
  const meta = `{"kind":"${kind}","headers":${headers},"durationMs":${durationMs}}`;
  return meta.length > MAX_TEXT_UNITS && byteLength(meta) > MAX_META_BYTES ? null : meta;
}

/** Milliseconds with three decimals. */
function elapsedMs(startMs) {
  return Math.round((now() - startMs) * 1000) / 1000;
}

function copyBytes(bytes, start, end) {
  const copy = allocUnsafe(end - start);
  bytesSet(copy, bytesSubarray(bytes, start, end), 0);
  return copy;
}

function joinPieces(pieces, length) {
  const whole = allocUnsafe(length);
  let offset = 0;
  for (let i = 0; i < pieces.length; i += 1) {
    bytesSet(whole, pieces[i], offset);
    offset += pieces[i].length;
  }
  return whole;
}

module.exports = { Replica };
