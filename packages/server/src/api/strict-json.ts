import { KsError } from "@kube-serverless/contracts";

const MAX_DEPTH = 512;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/** JSON in strict UTF-8, no deeper than 512. @throws KsError `INVALID_REQUEST` */
export function parseStrictJson(body: Buffer): unknown {
  if (isTooDeep(body)) throw refuse(`is nested deeper than ${MAX_DEPTH}`);
  try {
    // A byte order mark is kept, and refused by the parser.
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body)) as unknown;
  } catch (error) {
    throw refuse(error instanceof SyntaxError ? `is not JSON: ${error.message}` : "is not UTF-8");
  }
}

/** Looked at before parsing, as what reads a value afterwards may go down by recursion. */
function isTooDeep(body: Buffer): boolean {
  let depth = 0;
  let isInText = false;
  for (let index = 0; index < body.length; index++) {
    const byte = body[index] ?? 0;
    if (isInText) {
      if (byte === BACKSLASH) index++;
      else if (byte === QUOTE) isInText = false;
    } else if (byte === QUOTE) isInText = true;
    else if (CLOSING.has(byte)) depth--;
    else if (OPENING.has(byte) && ++depth > MAX_DEPTH) return true;
  }
  return false;
}

function refuse(message: string): KsError {
  return new KsError("INVALID_REQUEST", { details: [{ path: "", message }] });
}
