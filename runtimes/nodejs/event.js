"use strict";

const {
  base64Slice,
  bufferFrom,
  jsonParse,
  mapGet,
  mapSet,
  stringEndsWith,
  stringIndexOf,
  stringSlice,
  stringSplit,
  stringStartsWith,
  stringToLowerCase,
  stringTrim,
  utf8Slice,
} = require("./builtins.js");
const { isValidUtf8 } = require("./frames.js");

const MAX_JSON_DEPTH = 512;
const MAX_KNOWN_TYPES = 64;

const JSON_TYPE = 1;
const NO_TYPE = 2;
const TEXT_TYPE = 3;
const BINARY_TYPE = 4;

/** What the handler gets. `rawBody` lives on the prototype: made when it is read, and no part of what JSON shows. */
class Event {
  #raw;
  #encoding;

  constructor(meta, body, isBase64Encoded, raw, encoding) {
    this.body = body;
    this.headers = meta.headers;
    this.method = meta.method;
    this.path = meta.path;
    this.query = meta.query;
    this.isBase64Encoded = isBase64Encoded;
    this.params = meta.params ?? {};
    this.trigger = meta.trigger;
    this.requestId = meta.id;
    this.#raw = raw;
    this.#encoding = encoding;
  }

  get rawBody() {
    if (typeof this.#raw === "string") this.#raw = bufferFrom(this.#raw, this.#encoding);
    return this.#raw;
  }

  set rawBody(value) {
    Object.defineProperty(this, "rawBody", { value, writable: true, configurable: true, enumerable: true });
  }
}
// So that it prints as the plain object which it is to its reader.
Object.defineProperty(Event.prototype, "constructor", { value: Object });

const knownTypes = new Map();

/** How a body of this content type is read. */
function classifyContentType(contentType) {
  if (contentType === "application/json") return JSON_TYPE;
  if (typeof contentType !== "string") return NO_TYPE;
  let known = mapGet(knownTypes, contentType);
  if (known === undefined) {
    known = readContentType(contentType);
    if (knownTypes.size < MAX_KNOWN_TYPES) mapSet(knownTypes, contentType, known);
  }
  return known;
}

function readContentType(contentType) {
  const parts = stringSplit(stringToLowerCase(contentType), ";");
  const type = stringTrim(parts[0]);
  if (type === "") return NO_TYPE;
  if (type === "application/json" || (stringIndexOf(type, "/") > 0 && stringEndsWith(type, "+json"))) return JSON_TYPE;
  if (type !== "application/x-www-form-urlencoded" && !stringStartsWith(type, "text/")) return BINARY_TYPE;
  for (let i = 1; i < parts.length; i += 1) {
    const parameter = stringTrim(parts[i]);
    if (!stringStartsWith(parameter, "charset=")) continue;
    let charset = stringTrim(stringSlice(parameter, 8));
    if (stringStartsWith(charset, '"') && stringEndsWith(charset, '"')) charset = stringSlice(charset, 1, -1);
    if (charset !== "utf-8" && charset !== "us-ascii") return BINARY_TYPE;
  }
  return TEXT_TYPE;
}

/** A compressed body, say, is bytes whatever it holds. */
function isEncoded(contentEncoding) {
  if (typeof contentEncoding !== "string") return false;
  const coding = stringToLowerCase(stringTrim(contentEncoding));
  return coding !== "" && coding !== "identity";
}

/** True when arrays and objects of this JSON text nest deeper than is allowed. */
function isTooDeep(bytes, start, end) {
  // It takes an opening and a closing byte a level.
  if (end - start <= 2 * MAX_JSON_DEPTH) return false;
  let depth = 0;
  for (let i = start; i < end; i += 1) {
    const byte = bytes[i];
    if (byte === 0x22) {
      for (i += 1; i < end && bytes[i] !== 0x22; i += 1) if (bytes[i] === 0x5c) i += 1;
    } else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth -= 1;
    }
  }
  return false;
}

/** The event of a call, or null when its body is not the JSON that its content type promises. */
function buildEvent(meta, bytes, start, end) {
  if (start === end) return new Event(meta, meta.trigger.type === "invoke" ? {} : null, false, "", "utf8");
  const type = isEncoded(meta.headers["content-encoding"]) ? BINARY_TYPE : classifyContentType(meta.headers["content-type"]);
  if (type === BINARY_TYPE) return buildBinaryEvent(meta, bytes, start, end);
  const text = utf8Slice(bytes, start, end);
  if (!isValidUtf8(text, bytes, start, end)) return type === JSON_TYPE ? null : buildBinaryEvent(meta, bytes, start, end);
  if (type === TEXT_TYPE) return new Event(meta, text, false, text, "utf8");
  let body;
  let parsed = false;
  try {
    body = jsonParse(text);
    parsed = !isTooDeep(bytes, start, end);
  } catch {
    // What does not parse is text, or an error, below.
  }
  if (parsed) return new Event(meta, body, false, text, "utf8");
  return type === JSON_TYPE ? null : new Event(meta, text, false, text, "utf8");
}

function buildBinaryEvent(meta, bytes, start, end) {
  const base64 = base64Slice(bytes, start, end);
  return new Event(meta, base64, true, base64, "base64");
}

module.exports = { buildEvent };
