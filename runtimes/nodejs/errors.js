"use strict";

const { isArray, jsonStringify, NativeError, stringIndexOf, stringSlice, stringSplit } = require("./builtins.js");

const MAX_TYPE_UNITS = 256;
const MAX_MESSAGE_UNITS = 8_192;
const MAX_STACK_UNITS = 16_384;

/** What a handler did that its caller is told as FUNCTION_ERROR, in our words. */
class FunctionError extends Error {}

/** `{type, message, stack}` of whatever was thrown; never throws, whatever its getters do. */
function describeError(thrown) {
  try {
    const described = isErrorLike(thrown)
      ? describeObject(thrown)
      : { type: typeNameOf(thrown), message: describeValue(thrown), stack: "" };
    described.type = cut(described.type, MAX_TYPE_UNITS);
    described.message = cut(described.message, MAX_MESSAGE_UNITS);
    return described;
  } catch {
    return { type: "Error", message: "something was thrown that can't be described", stack: "" };
  }
}

/** An error whose name and message would not be in its JSON. */
function isLostError(value) {
  return value instanceof NativeError && typeof value.toJSON !== "function";
}

function isErrorLike(thrown) {
  return thrown !== null && typeof thrown === "object" && typeof thrown.message === "string";
}

function describeObject(thrown) {
  return { type: classNameOf(thrown), message: thrown.message, stack: typeof thrown.stack === "string" ? cleanStack(thrown.stack) : "" };
}

/** The name that an error gives itself, or else that of its class. */
function classNameOf(thrown) {
  if (typeof thrown.name === "string" && thrown.name !== "" && thrown.name !== "Error") return thrown.name;
  return typeNameOf(thrown);
}

function typeNameOf(thrown) {
  if (thrown === null) return "null";
  if (typeof thrown !== "object") return typeof thrown;
  const constructor = thrown.constructor;
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "Object";
}

function describeValue(thrown) {
  if (typeof thrown === "string") return thrown;
  if (thrown !== null && typeof thrown === "object") {
    const json = jsonStringify(thrown);
    if (typeof json === "string") return json;
  }
  return String(thrown);
}

/** A stack without the shim's own frames. */
function cleanStack(stack) {
  if (stack.length > 4 * MAX_STACK_UNITS) stack = stringSlice(stack, 0, 4 * MAX_STACK_UNITS);
  if (stringIndexOf(stack, __dirname) === -1) return cut(stack, MAX_STACK_UNITS);
  const lines = stringSplit(stack, "\n");
  let cleaned = lines[0];
  for (let i = 1; i < lines.length; i += 1) {
    if (stringIndexOf(lines[i], __dirname) === -1) cleaned += `\n${lines[i]}`;
  }
  return cut(cleaned, MAX_STACK_UNITS);
}

function cut(text, units) {
  return text.length > units ? `${stringSlice(text, 0, units - 1)}…` : text;
}

/** A value as a message shows it: as JSON where that is short, else by its kind. */
function nameValue(value) {
  if (typeof value === "string") return jsonStringify(value);
  if (value === null || typeof value === "number" || typeof value === "boolean") return String(value);
  return isArray(value) ? "a list" : `a value of type ${typeNameOf(value)}`;
}

module.exports = { FunctionError, cleanStack, cut, describeError, isLostError, nameValue, typeNameOf };
