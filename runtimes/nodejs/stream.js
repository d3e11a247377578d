"use strict";

const { Readable } = require("node:stream");
const { bufferFrom, bytesSubarray, isView } = require("./builtins.js");
const { FunctionError, nameValue } = require("./errors.js");
const { MAX_BODY_BYTES } = require("./frames.js");
const { toBytes } = require("./response.js");

/**
 * Sends what a stream yields, as far as the gateway's credit goes.
 * @returns {Promise<{hasBegun: boolean, error?: unknown}>}
 */
async function sendStream(call, body, sink) {
  let hasBegun = false;
  try {
    const iterator = iterate(body);
    call.onCancel = () => stopQuietly(body, iterator);
    for (;;) {
      if (call.cancelled) throw new FunctionError("the caller went away");
      const { value, done } = await iterator.next();
      if (call.cancelled) throw new FunctionError("the caller went away");
      if (done) return { hasBegun };
      const piece = encodePiece(value);
      let offset = 0;
      if (!hasBegun) {
        offset = Math.min(piece.length, MAX_BODY_BYTES);
        sink.begin(typeof value === "string" ? "text" : "binary", bytesSubarray(piece, 0, offset));
        hasBegun = true;
      }
      while (offset < piece.length) {
        if (call.window === 0) await waitForCredit(call);
        if (call.cancelled) break;
        const end = offset + Math.min(MAX_BODY_BYTES, call.window, piece.length - offset);
        call.window -= end - offset;
        sink.data(bytesSubarray(piece, offset, end));
        offset = end;
      }
    }
  } catch (error) {
    if (call.onCancel !== null) call.onCancel();
    return { hasBegun, error: error ?? new FunctionError(`the stream failed with ${error}`) };
  }
}

function iterate(body) {
  if (typeof body[Symbol.asyncIterator] === "function") return body[Symbol.asyncIterator]();
  if (typeof body.pipe === "function") {
    return new Readable().wrap(body)[Symbol.asyncIterator]();
  }
  return body[Symbol.iterator]();
}

function encodePiece(value) {
  if (typeof value === "string") return bufferFrom(value, "utf8");
  if (isView(value) || value instanceof ArrayBuffer) return toBytes(value);
  throw new FunctionError(`a stream's pieces must be strings or bytes, got ${nameValue(value)}`);
}

function waitForCredit(call) {
  return new Promise((resolve) => {
    call.onCredit = () => {
      call.onCredit = null;
      resolve();
    };
  });
}

/** Ends a stream whose caller is gone: a Readable at once, an iterator at its next yield. How it ends is its own matter. */
async function stopQuietly(body, iterator) {
  try {
    if (typeof body.destroy === "function") body.destroy();
    else if (typeof iterator.return === "function") await iterator.return();
  } catch {
    // Nobody waits for it any more.
  }
}

module.exports = { sendStream };
