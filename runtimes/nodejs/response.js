"use strict";

const { bufferFrom, isArray, isView, jsonStringify, objectKeys, regexpTest, stringIndexOf } = require("./builtins.js");
const { FunctionError, isLostError, nameValue, typeNameOf } = require("./errors.js");

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const THREE_DIGITS = /^[2-5][0-9][0-9]$/;

/** What the handler returned as `{status, kind, headers, body}`: headers a JSON list or "", body text, bytes or a stream. */
class Response {
  constructor(status, headers, kind, body) {
    this.status = status;
    this.headers = headers;
    this.kind = kind;
    this.body = body;
  }
}

/**
 * @throws FunctionError for what cannot be a response, whatever JSON.stringify throws, and an error that was returned as the body.
 */
function buildResponse(value) {
  if (value === undefined) return new Response(200, "", "json", "null");
  if (value === null || typeof value !== "object" || isArray(value)) return buildBody(200, "", value);
  const statusCode = value.statusCode;
  if (statusCode === undefined) return buildBody(200, "", value);
  const status = readStatus(statusCode);
  if (status !== 0) return buildBody(status, buildHeaders(value), decodeBody(value), true);
  if (value.body !== undefined || value.headers !== undefined) {
    throw new FunctionError(`statusCode must be an integer from 200 to 599, got ${nameValue(statusCode)}`);
  }
  return buildBody(200, "", value);
}

/** The status, or 0 where it is none. */
function readStatus(statusCode) {
  if (typeof statusCode === "number") return Number.isInteger(statusCode) && statusCode >= 200 && statusCode <= 599 ? statusCode : 0;
  return typeof statusCode === "string" && regexpTest(THREE_DIGITS, statusCode) ? Number(statusCode) : 0;
}

function decodeBody(value) {
  const body = value.body;
  if (value.isBase64Encoded !== true || typeof body !== "string") return body;
  if (!regexpTest(BASE64, body)) throw new FunctionError("isBase64Encoded is true, but the body is not base64");
  return bufferFrom(body, "base64");
}

function buildBody(status, headers, body, mayBeMissing = false) {
  if (typeof body === "string") return new Response(status, headers, "text", body);
  if (mayBeMissing && (body === undefined || body === null)) return new Response(status, headers, "none", "");
  if (body !== null && typeof body === "object") {
    if (isView(body) || body instanceof ArrayBuffer) return new Response(status, headers, "binary", toBytes(body));
    if (isStream(body)) return new Response(status, headers, "stream", body);
    if (isLostError(body)) throw body;
  }
  return new Response(status, headers, "json", toJson(body));
}

/** The bytes of a buffer or view. */
function toBytes(value) {
  if (value instanceof Uint8Array) return value;
  return isView(value) ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(value);
}

function isStream(value) {
  return (
    typeof value[Symbol.asyncIterator] === "function" ||
    (typeof value.pipe === "function" && typeof value.on === "function") ||
    (typeof value.next === "function" && typeof value[Symbol.iterator] === "function")
  );
}

function toJson(value) {
  const json = jsonStringify(value);
  if (json === undefined) {
    if (typeof value === "function" || typeof value === "symbol") throw new FunctionError(`a ${typeof value} can't be sent as JSON`);
    return "null";
  }
  if (mayHideValues(json)) refuseHidden(value, 0);
  return json;
}

// JSON.stringify shows sets, maps, promises, errors and bytes as something else than what they hold. A replacer that looked at every value
// would cost ten times what the rest does, but each of them leaves one of these marks.
function mayHideValues(json) {
  return stringIndexOf(json, "{}") !== -1 || stringIndexOf(json, '"type":"Buffer"') !== -1 || stringIndexOf(json, '{"0":') !== -1;
}

function refuseHidden(value, depth) {
  if (value === null || typeof value !== "object" || depth > 1000) return;
  if (isView(value) || value instanceof ArrayBuffer)
    throw new FunctionError(`bytes (${typeNameOf(value)}) within an object can't be sent as JSON`);
  if (typeof value.toJSON === "function") return;
  if (value instanceof Set || value instanceof Map) throw new FunctionError(`a ${typeNameOf(value)} can't be sent as JSON`);
  if (isLostError(value)) throw new FunctionError(`a ${typeNameOf(value)} can't be sent as JSON: send its message`);
  if (value instanceof Promise) throw new FunctionError("a Promise can't be sent as JSON: await it first");
  if (isArray(value)) {
    for (let i = 0; i < value.length; i += 1) refuseHidden(value[i], depth + 1);
    return;
  }
  const keys = objectKeys(value);
  for (let i = 0; i < keys.length; i += 1) refuseHidden(value[keys[i]], depth + 1);
}

/** The flat list of names and values, as JSON; "" where there are none. */
function buildHeaders(value) {
  let list = "";
  if (value.headers !== undefined && value.headers !== null) list = addHeaders(list, value.headers, "headers");
  if (value.multiValueHeaders !== undefined && value.multiValueHeaders !== null) {
    list = addHeaders(list, value.multiValueHeaders, "multiValueHeaders");
  }
  const cookies = value.cookies;
  if (cookies !== undefined && cookies !== null) {
    if (!isArray(cookies)) throw new FunctionError(`cookies must be a list of strings, got ${nameValue(cookies)}`);
    for (let i = 0; i < cookies.length; i += 1) {
      if (typeof cookies[i] !== "string") throw new FunctionError(`cookies must be a list of strings, got ${nameValue(cookies[i])} in it`);
      list = addHeader(list, "set-cookie", cookies[i]);
    }
  }
  return list === "" ? "" : `[${list}]`;
}

function addHeaders(list, headers, field) {
  if (typeof headers !== "object" || isArray(headers)) throw new FunctionError(`${field} must be an object, got ${nameValue(headers)}`);
  // A Headers of fetch, or a Map, has its entries behind its iterator.
  if (typeof headers[Symbol.iterator] === "function") headers = Object.fromEntries(headers);
  const names = objectKeys(headers);
  for (let i = 0; i < names.length; i += 1) list = addHeader(list, names[i], headers[names[i]]);
  return list;
}

function addHeader(list, name, value) {
  if (isArray(value)) {
    for (let i = 0; i < value.length; i += 1) list = addOne(list, name, value[i]);
    return list;
  }
  return addOne(list, name, value);
}

function addOne(list, name, value) {
  if (value === undefined || value === null) return list;
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") {
    throw new FunctionError(`header ${jsonStringify(name)} must be a string, number, boolean or a list of them, got ${nameValue(value)}`);
  }
  return `${list}${list === "" ? "" : ","}${jsonStringify(name)},${jsonStringify(String(value))}`;
}

module.exports = { buildResponse, toBytes };
