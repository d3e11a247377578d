"use strict";

const { bufferFrom, byteLength, jsonStringify, now } = require("./builtins.js");
const { describeError } = require("./errors.js");
const { MAX_BODY_BYTES, MAX_META_BYTES, MAX_TEXT_UNITS, MORE, TYPE } = require("./frames.js");
const { buildResponse } = require("./response.js");
const { sendStream } = require("./stream.js");

const MAX_RESPONSE_BYTES = 6 * 1024 * 1024;

/** Turns what handlers return or throw into frames. */
class AnswerWriter {
  #writer;
  #log;
  #onEnd;

  /** @param onEnd (call): its answer is complete */
  constructor(writer, log, onEnd) {
    this.#writer = writer;
    this.#log = log;
    this.#onEnd = onEnd;
  }

  /** The handler returned a value. */
  answer(call, value) {
    if (call.answered) return;
    call.answered = true;
    let response;
    try {
      response = buildResponse(value);
    } catch (error) {
      this.#sendFunctionError(call, error);
      return;
    }
    if (response.kind === "stream") void this.#sendStream(call, response);
    else this.#send(call, response);
  }

  /** The handler threw. */
  fail(call, error) {
    if (call.answered) return;
    call.answered = true;
    this.#sendFunctionError(call, error);
  }

  /** The call's body is not what it should be. */
  refuse(call) {
    call.startMs = now();
    this.#sendError(call, "INVALID_REQUEST", "InvalidRequest", "Invalid request body", "");
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
      this.#writer.text(response.status, call.stream, meta, body);
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
    this.#writer.bytes(isWhole ? status : status | MORE, call.stream, meta, bytes, 0, first);
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
        this.#writer.bytes(isLast ? TYPE.DATA : TYPE.DATA | MORE, call.stream, "", bytes, offset, end);
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
        this.#writer.bytes(response.status | MORE, call.stream, meta, piece, 0, piece.length);
      },
      data: (piece) => this.#writer.bytes(TYPE.DATA | MORE, call.stream, "", piece, 0, piece.length),
    };
    const outcome = await sendStream(call, response.body, sink);
    if (outcome.error !== undefined && !outcome.hasBegun) {
      this.#sendFunctionError(call, outcome.error);
    } else if (outcome.error !== undefined) {
      this.#abort(call, describeError(outcome.error).message);
    } else if (outcome.hasBegun) {
      this.#endLog(call);
      this.#writer.text(TYPE.DATA, call.stream, "", "");
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
    this.#writer.text(TYPE.ERROR, call.stream, byteLength(whole) <= MAX_META_BYTES ? whole : start + end, "");
    this.#finish(call);
  }

  #abort(call, message) {
    this.#endLog(call);
    this.#writer.text(TYPE.ABORT, call.stream, `{"message":${jsonStringify(message)}}`, "");
    this.#finish(call);
  }

  /** What a call has printed goes out before the last frame of its answer. */
  #endLog(call) {
    this.#log.endCall(call.log);
  }

  #finish(call) {
    call.onCredit = null;
    call.onCancel = null;
    this.#onEnd(call);
  }
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

module.exports = { AnswerWriter, elapsedMs };
