"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { Writable } = require("node:stream");
const {
  bufferFrom,
  dateNow,
  isView,
  jsonStringify,
  nextTick,
  setImmediate,
  stringIndexOf,
  stringLastIndexOf,
  stringSlice,
  stringSplit,
  utf8Slice,
} = require("./builtins.js");
const { MAX_BODY_BYTES, MAX_TEXT_UNITS, TYPE } = require("./frames.js");
const { toBytes } = require("./response.js");

/** Log lines are dropped while so many bytes wait for the gateway. */
const MAX_QUEUED_BYTES = 1024 * 1024;

/** The call that runs, known to everything that it starts. */
const currentCall = new AsyncLocalStorage();

/** The beginning of a line whose end has not been printed yet. */
class OpenLine {
  text = "";
  truncated = false;

  add(text) {
    if (this.text.length + text.length > MAX_BODY_BYTES) {
      // So many units are at least so many bytes: whatever follows would be cut away anyway.
      text = stringSlice(text, 0, MAX_BODY_BYTES - this.text.length);
      this.truncated = true;
    }
    this.text += text;
  }
}

/** What one call, or everything outside of calls, prints: its open lines. */
class LogSource {
  /** @param sink `{writer, transport}` that takes its frames; null where nobody listens */
  constructor(sink, stream, requestId) {
    this.sink = sink;
    this.stream = stream;
    this.requestId = requestId;
    this.stdout = null;
    this.stderr = null;
  }
}

/** Turns what is printed into LOG frames: one for what a call prints in a row within a turn. */
class Log {
  #outside = new LogSource(null, 0, undefined);
  #source = null;
  #name = "";
  #text = "";
  #dropped = 0;
  /** In a pod its own output: `write(name, requestId, lines, truncated)`. */
  output = null;

  /** Takes what no call prints, from now on. */
  set sink(sink) {
    this.#outside.sink = sink;
  }

  print(name, source, text) {
    if (source === undefined) source = this.#outside;
    const end = stringLastIndexOf(text, "\n");
    const open = source[name];
    if (end === -1) {
      if (open === null) source[name] = new OpenLine();
      source[name].add(text);
      return;
    }
    let lines = stringSlice(text, 0, end);
    if (open !== null) {
      source[name] = null;
      if (open.truncated) {
        const firstEnd = stringIndexOf(text, "\n");
        this.#printTruncated(name, source, open.text);
        lines = firstEnd === end ? null : stringSlice(text, firstEnd + 1, end);
      } else {
        lines = open.text + lines;
      }
    }
    if (lines !== null) this.#printLines(name, source, lines);
    if (end < text.length - 1) {
      source[name] = new OpenLine();
      source[name].add(stringSlice(text, end + 1));
    }
  }

  #printLines(name, source, lines) {
    if (lines.length <= MAX_TEXT_UNITS) {
      this.#add(name, source, lines);
      return;
    }
    let start = 0;
    while (start <= lines.length) {
      let end = stringIndexOf(lines, "\n", start);
      if (end === -1) end = lines.length;
      if (end - start <= MAX_TEXT_UNITS) this.#add(name, source, stringSlice(lines, start, end));
      else this.#printLong(name, source, stringSlice(lines, start, Math.min(end, start + MAX_BODY_BYTES + 1)));
      start = end + 1;
    }
  }

  /** A line that may be over the limit of bytes. */
  #printLong(name, source, line) {
    const bytes = bufferFrom(line, "utf8");
    if (bytes.length > MAX_BODY_BYTES) this.#printTruncated(name, source, line);
    else this.#frame(name, source, bytes, bytes.length, "");
  }

  #printTruncated(name, source, line) {
    const bytes = bufferFrom(line, "utf8");
    let end = Math.min(bytes.length, MAX_BODY_BYTES);
    while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end -= 1;
    this.#frame(name, source, bytes, end, ',"truncated":true');
  }

  #add(name, source, lines) {
    if (source !== this.#source || name !== this.#name || this.#text.length + lines.length >= MAX_TEXT_UNITS) {
      this.flush();
      this.#source = source;
      this.#name = name;
      this.#text = lines;
      scheduleFlush(this, source.sink);
      return;
    }
    this.#text += `\n${lines}`;
  }

  /** Writes the frame that is being gathered. */
  flush() {
    if (this.#source === null) return;
    const source = this.#source;
    this.#source = null;
    if (this.output !== null) this.output.write(this.#name, source.requestId, this.#text, false);
    if (this.#drops(source.sink, this.#text)) return;
    source.sink.writer.text(TYPE.LOG, source.stream, this.#meta(this.#name, source, ""), this.#text);
  }

  #frame(name, source, bytes, end, more) {
    this.flush();
    if (this.output !== null) this.output.write(name, source.requestId, utf8Slice(bytes, 0, end), more !== "");
    if (this.#drops(source.sink, "")) return;
    source.sink.writer.bytes(TYPE.LOG, source.stream, this.#meta(name, source, more), bytes, 0, end);
  }

  #meta(name, source, more) {
    const requestId = source.requestId === undefined ? "" : `"requestId":${jsonStringify(source.requestId)},`;
    return `{"stream":"${name}",${requestId}"timeMs":${dateNow()}${more}}`;
  }

  /** True when these lines are not sent, as too much waits already. */
  #drops(sink, lines) {
    if (sink === null || sink.isClosed) return true;
    if (sink.transport.queuedBytes > MAX_QUEUED_BYTES) {
      this.#dropped += stringSplit(lines, "\n").length;
      return true;
    }
    this.reportDropped();
    return false;
  }

  /** Says how many lines are missing, once there is room again. */
  reportDropped() {
    const { sink } = this.#outside;
    if (this.#dropped === 0 || sink === null) return;
    const dropped = this.#dropped;
    this.#dropped = 0;
    sink.writer.text(TYPE.LOG, 0, `{"stream":"stderr","timeMs":${dateNow()},"dropped":${dropped}}`, `dropped: ${dropped}`);
  }

  /** Ends the lines that a call has left open; what it prints later belongs to no stream. */
  endCall(source) {
    this.#closeLine("stdout", source);
    this.#closeLine("stderr", source);
    this.flush();
    source.stream = 0;
  }

  /** Everything that is left, when the process ends. */
  end() {
    const call = currentCall.getStore();
    if (call !== undefined) this.endCall(call.log);
    this.endCall(this.#outside);
  }

  #closeLine(name, source) {
    const open = source[name];
    if (open === null) return;
    source[name] = null;
    if (open.truncated) this.#printTruncated(name, source, open.text);
    else this.#printLines(name, source, open.text);
  }
}

/** The frame leaves with the others of this turn, or, where nobody listens, at the turn's end alone. */
function scheduleFlush(log, sink) {
  if (sink !== null) sink.writer.schedule();
  else setImmediate(() => log.flush());
}

/** A standard stream that the log takes in; it never blocks, and what ends or destroys it does it no harm. */
class LogStream extends Writable {
  #name;

  constructor(name, fd) {
    super({ decodeStrings: false, autoDestroy: false, emitClose: false });
    this.#name = name;
    this.fd = fd;
  }

  write(chunk, encoding, callback) {
    if (typeof encoding === "function") callback = encoding;
    activeLog.print(this.#name, currentCall.getStore()?.log, textOf(chunk, encoding));
    if (typeof callback === "function") nextTick(callback);
    return true;
  }

  _write(_chunk, _encoding, callback) {
    callback();
  }

  end(chunk, encoding, callback) {
    if (typeof chunk === "function") callback = chunk;
    else if (typeof encoding === "function") callback = encoding;
    if (chunk !== undefined && chunk !== null && typeof chunk !== "function") this.write(chunk, encoding);
    super.end(callback);
    return this;
  }

  destroy() {
    return this;
  }
}

function textOf(chunk, encoding) {
  if (typeof chunk === "string") {
    if (encoding === "hex" || encoding === "base64" || encoding === "base64url") return bufferFrom(chunk, encoding).toString();
    return chunk;
  }
  if (isView(chunk)) {
    const bytes = toBytes(chunk);
    return bufferFrom(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
  }
  const error = new TypeError(
    `The "chunk" argument must be of type string or an instance of Buffer or Uint8Array. Received ${typeof chunk}`,
  );
  error.code = "ERR_INVALID_ARG_TYPE";
  throw error;
}

let activeLog = null;

/** From now on this log takes what is printed. */
function setActiveLog(log) {
  activeLog = log;
}

/** Replaces the process's standard streams; the console, which binds to them when it is first used, follows. */
function captureStandardStreams() {
  for (const [name, fd] of [
    ["stdout", 1],
    ["stderr", 2],
  ]) {
    let stream;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => (stream ??= new LogStream(name, fd)),
    });
  }
}

module.exports = { Log, LogSource, captureStandardStreams, currentCall, setActiveLog };
