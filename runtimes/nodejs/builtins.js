"use strict";

// What framing depends on, captured before user code loads: a function that patches JSON, Buffer or timers, or
// pollutes a prototype, changes its own behaviour and never what is said on the frame socket.

const { closeSync, writeSync } = require("node:fs");
const { isUtf8 } = require("node:buffer");

const uncurryThis = Function.prototype.bind.bind(Function.prototype.call);
const bufferPrototype = Buffer.prototype;
const { hrtime } = process;

/** Milliseconds of a clock that never goes back; `performance` would keep 0.4 MiB more in memory. */
function nowMs() {
  const time = hrtime();
  return time[0] * 1e3 + time[1] / 1e6;
}

module.exports = {
  uncurryThis,
  jsonParse: JSON.parse,
  jsonStringify: JSON.stringify,
  isArray: Array.isArray,
  NativeError: Error,
  objectKeys: Object.keys,
  isView: ArrayBuffer.isView,
  isUtf8,
  writeSync,
  closeSync,
  setImmediate,
  setTimeout,
  nextTick: process.nextTick.bind(process),
  atomicsWait: Atomics.wait,
  now: nowMs,
  dateNow: Date.now,
  allocUnsafe: Buffer.allocUnsafe,
  allocUnsafeSlow: Buffer.allocUnsafeSlow,
  bufferFrom: Buffer.from,
  byteLength: Buffer.byteLength,
  utf8Slice: uncurryThis(bufferPrototype.utf8Slice),
  utf8Write: uncurryThis(bufferPrototype.utf8Write),
  base64Slice: uncurryThis(bufferPrototype.base64Slice),
  bytesFill: uncurryThis(Uint8Array.prototype.fill),
  bytesSet: uncurryThis(Uint8Array.prototype.set),
  bytesSubarray: uncurryThis(Uint8Array.prototype.subarray),
  stringIndexOf: uncurryThis(String.prototype.indexOf),
  stringLastIndexOf: uncurryThis(String.prototype.lastIndexOf),
  stringSlice: uncurryThis(String.prototype.slice),
  stringTrim: uncurryThis(String.prototype.trim),
  stringToLowerCase: uncurryThis(String.prototype.toLowerCase),
  stringEndsWith: uncurryThis(String.prototype.endsWith),
  stringStartsWith: uncurryThis(String.prototype.startsWith),
  stringSplit: uncurryThis(String.prototype.split),
  mapGet: uncurryThis(Map.prototype.get),
  mapSet: uncurryThis(Map.prototype.set),
  mapDelete: uncurryThis(Map.prototype.delete),
  regexpTest: uncurryThis(RegExp.prototype.test),
};
