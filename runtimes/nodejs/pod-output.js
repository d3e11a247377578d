"use strict";

const { closeSync, constants, fstatSync, openSync } = require("node:fs");
const { bufferFrom, bytesSubarray, dateNow, jsonStringify, stringSplit, writeSync } = require("./builtins.js");

/** The pod's own output, for the cluster's collectors: a JSON object a line. It never waits for whoever reads it. */
class PodOutput {
  #fd;
  /** The end of a line that was not taken whole. */
  #rest = null;
  #dropped = 0;
  #function = "";

  constructor(fd) {
    this.#fd = openWithoutWaiting(fd);
  }

  /** From now on lines name the function. */
  specialise(name, revision) {
    this.#function = `"function":${jsonStringify(name)},"revision":${revision},`;
  }

  /** Lines parted by `\n`. */
  write(stream, requestId, lines, truncated) {
    const time = new Date(dateNow()).toISOString();
    const id = requestId === undefined ? "" : `"requestId":${jsonStringify(requestId)},`;
    const start = `{"time":"${time}","stream":"${stream}",${this.#function}${id}"message":`;
    const end = truncated ? ',"truncated":true}\n' : "}\n";
    const pieces = stringSplit(lines, "\n");
    let text = "";
    for (let i = 0; i < pieces.length; i += 1) text += start + jsonStringify(pieces[i]) + end;
    if (this.#sendRest() && this.#sendDropped(time)) this.#send(bufferFrom(text, "utf8"));
    else this.#dropped += pieces.length;
  }

  #sendDropped(time) {
    if (this.#dropped === 0) return true;
    const line = `{"time":"${time}","stream":"stderr",${this.#function}"dropped":${this.#dropped}}\n`;
    this.#dropped = 0;
    this.#send(bufferFrom(line, "utf8"));
    return this.#rest === null;
  }

  #sendRest() {
    if (this.#rest === null) return true;
    const rest = this.#rest;
    this.#rest = null;
    this.#send(rest);
    return this.#rest === null;
  }

  #send(bytes) {
    let sent = 0;
    try {
      while (sent < bytes.length) sent += writeSync(this.#fd, bytes, sent, bytes.length - sent);
    } catch (error) {
      if (error.code === "EAGAIN") this.#rest = bytesSubarray(bytes, sent);
    }
  }
}

/** A pipe is opened once more, as its own descriptor must stay as it is for what the function itself starts. */
function openWithoutWaiting(fd) {
  try {
    if (!fstatSync(fd).isFIFO()) return fd;
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
    if (own > 2) return own;
    closeSync(own);
  } catch {
    // Not to be had: then it is written to as it is.
  }
  return fd;
}

module.exports = { PodOutput };
