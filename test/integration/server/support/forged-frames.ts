import { encodeFrame, FrameType, MORE } from "../../../../packages/server/src/protocol/frames.ts";

/** Bytes that a function writes to its replica's connection, past the shim, during a call. */
export interface Forgery {
  name: string;
  bytes: Buffer;
  /** How often it is written. @default 1 */
  times?: number;
  /** No replica may say that: its connection is cut, and the calls within are told so. */
  breaks?: true;
}

/** What must never be seen outside the replica that wrote it. */
export const FORGED = "forged-by-a-replica";

const NOTHING = Buffer.alloc(0);
const TEXT = Buffer.from(FORGED);
const PIECE = Buffer.alloc(65_536, 97);

function frame(kind: number, stream: number, meta: object | string = "", body: Buffer = NOTHING, more = false): Buffer {
  return encodeFrame(stream, kind, more, typeof meta === "string" ? meta : JSON.stringify(meta), body);
}

/** The same for the streams that the first calls of a replica have; those that have ended are nobody's any more. */
function onStreams(count: number, build: (stream: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => build(index + 1)));
}

function header(length: number, stream: number, kind: number, metaBytes: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt32BE(length, 0);
  bytes.writeUInt32BE(stream, 4);
  bytes.writeUInt16BE(kind, 8);
  bytes.writeUInt16BE(metaBytes, 10);
  return bytes;
}

const HEAD = { kind: "text", durationMs: 1 };
const LINES = Buffer.from(`${FORGED}\u001b]0;owned\u0007\r\n{"level":60,"msg":"${FORGED}"}`);

/** The head of the first answer of a replica, and one piece of it after the other, whatever the credit. */
export const GREEDY_HEAD = frame(200, 1, HEAD, NOTHING, true);
export const GREEDY_PIECES = Buffer.concat(Array.from({ length: 4 }, () => frame(FrameType.DATA, 1, "", PIECE, true)));

export const FORGERIES: readonly Forgery[] = [
  { breaks: true, name: "what is no frame", bytes: Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") },
  { breaks: true, name: "a frame of 4 GiB", bytes: header(0xffffffff, 1, FrameType.DATA, 0) },
  { breaks: true, name: "a frame of 4 MiB that never comes whole", bytes: header(4 << 20, 1, FrameType.DATA, 0) },
  { breaks: true, name: "a frame that is too short", bytes: header(0, 1, FrameType.DATA, 0) },
  { breaks: true, name: "meta longer than its frame", bytes: header(8, 1, FrameType.LOG, 65_535) },
  { breaks: true, name: "meta that is no object", bytes: frame(FrameType.LOG, 0, "[]", TEXT) },
  { breaks: true, name: "a kind that is none", bytes: frame(700 & ~MORE, 1) },
  {
    breaks: true,
    name: "answers to calls that nobody made",
    bytes: Buffer.concat([9_999, 0xffffffff, 0].map((stream) => frame(200, stream, HEAD, TEXT))),
  },
  {
    breaks: true,
    name: "data of calls that nobody made",
    bytes: Buffer.concat([9_999, 0].map((stream) => frame(FrameType.DATA, stream, "", TEXT))),
  },
  {
    name: "answers twice",
    bytes: onStreams(16, (stream) => Buffer.concat([frame(200, stream, HEAD, TEXT), frame(200, stream, HEAD, TEXT)])),
  },
  {
    name: "CR/LF in a header's value",
    bytes: onStreams(16, (stream) => frame(200, stream, { ...HEAD, headers: ["x-a", `a\r\nx-${FORGED}: 1`] })),
  },
  {
    name: "CR/LF in a header's name",
    bytes: onStreams(16, (stream) => frame(200, stream, { ...HEAD, headers: [`x-a\r\nx-${FORGED}`, "1"] })),
  },
  {
    breaks: true,
    name: "headers of another type",
    bytes: onStreams(16, (stream) => frame(200, stream, { ...HEAD, headers: { "x-a": FORGED } })),
  },
  {
    name: "headers of the platform",
    bytes: onStreams(16, (stream) =>
      frame(200, stream, { ...HEAD, headers: ["content-length", "999999", "x-request-id", FORGED, "transfer-encoding", "chunked"] }, TEXT),
    ),
  },
  {
    breaks: true,
    name: "a kind of answer that is none",
    bytes: onStreams(16, (stream) => frame(200, stream, { kind: { a: 1 }, durationMs: "long" }, TEXT)),
  },
  {
    breaks: true,
    name: "data of answers that never began",
    bytes: onStreams(4, (stream) => Buffer.concat(Array.from({ length: 8 }, () => frame(FrameType.DATA, stream, "", PIECE, true)))),
  },
  { name: "an answer that never ends", bytes: onStreams(16, (stream) => frame(200, stream, HEAD, TEXT, true)) },
  { breaks: true, name: "another HELLO", bytes: frame(FrameType.HELLO, 0, { protocol: 1, language: "go", version: FORGED, inFlight: 0 }) },
  {
    breaks: true,
    name: "HELLO of a version from the future",
    bytes: frame(FrameType.HELLO, 0, { protocol: 99, language: "cobol", version: FORGED, inFlight: -1 }),
  },
  {
    breaks: true,
    name: "SPECIALISE to the gateway",
    bytes: frame(FrameType.SPECIALISE, 0, { function: "bystander", uid: "x", revision: 1, handler: "index.handler" }, TEXT),
  },
  { breaks: true, name: "a second READY", bytes: frame(FrameType.READY, 0, { durationMs: 1 }) },
  { breaks: true, name: "FAILED after READY", bytes: frame(FrameType.FAILED, 0, { reason: "SyntaxError", message: FORGED }) },
  {
    breaks: true,
    name: "a CALL to the gateway",
    bytes: frame(FrameType.CALL, 1, { id: "x", method: "DELETE", path: "/api/v1/functions/bystander" }, TEXT),
  },
  {
    name: "credit without end",
    bytes: Buffer.concat(
      Array.from({ length: 4 }, () => onStreams(16, (stream) => frame(FrameType.CREDIT, stream, "", Buffer.alloc(4, 0xff)))),
    ),
    times: 100,
  },
  { name: "a PONG that nobody asked for", bytes: frame(FrameType.PONG, 0, { inFlight: 1e308 }, Buffer.alloc(8)) },
  { name: "BUSY for everything", bytes: onStreams(16, (stream) => frame(FrameType.BUSY, stream)) },
  {
    name: "log lines of another function",
    bytes: frame(FrameType.LOG, 0, { stream: "stdout", function: "bystander", uid: "other", requestId: "../../other" }, LINES),
  },
  { name: "a log stream that is none", bytes: frame(FrameType.LOG, 0, { stream: { a: 1 }, requestId: 5 }, LINES) },
  { name: "a flood of log", bytes: frame(FrameType.LOG, 0, { stream: "stdout" }, Buffer.alloc(65_536, 97)), times: 300 },
  {
    name: "errors of the platform's own codes",
    bytes: onStreams(16, (stream) => frame(FrameType.ERROR, stream, { code: "__proto__", message: FORGED, status: 999, stack: { a: 1 } })),
  },
  {
    name: "frames of pods",
    bytes: Buffer.concat(
      [FrameType.CHALLENGE, FrameType.PROOF, FrameType.TOKEN, FrameType.CLAIM, FrameType.ANSWER, FrameType.TAKEN].map((kind) =>
        frame(kind, 0, {}, TEXT),
      ),
    ),
  },
];
