import { ERRORS, type ErrorCode, type KsError, type KsErrorOptions } from "@kube-serverless/contracts";
import type { CallTimes } from "../dispatch/call.ts";
import type { CallHead, ResponseHead } from "../instances/port.ts";
import { readResponseHead } from "../instances/replica-meta.ts";
import { FrameType, MAX_META_BYTES, parseMeta, ProtocolError } from "../protocol/frames.ts";
import type { GatewayState } from "./membership.ts";
import { type GivenBack, RemoteFailure, type RemoteTimes } from "./remote-errors.ts";

/**
 * What gateways say to each other, in the frames of runtimes/PROTOCOL.md. Whoever dials (D) sends calls and requests to whoever
 * listens (L); each pair has a connection in both directions. Streams and credit are those of calls in replicas.
 *
 * | type | from | stream | meta | body |
 * |---|---|---|---|---|
 * | HELLO | L, then D | 0 | `{protocol, id, address, nonce}` | L: nothing; D: its proof for L's nonce |
 * | PROOF | L | 0 | | its proof for D's nonce |
 * | PING, PONG | D, L | 0 | what the sender says of itself; a PONG also comes unasked when that changes | |
 * | WARM | D | 0 | `{uid}`: a call is on its way | |
 * | CALL | D | n | `{uid, id, timeoutMs, last}`, a line feed, the head of the call; or `{request}` | first piece |
 * | QUEUED | L | n | the call waits for a place: until BEGIN it has not begun | |
 * | BEGIN, GO | L, D | n | there is a place: may it begin? Yes. | |
 * | BUSY | L | n | `{reason, owner?}`: the call has not begun and will not begin here | |
 * | CANCEL | D | n | nothing of this stream is wanted any more, its last frame; an error where the answer was refused | |
 * | status, DATA, CREDIT | both | n | a head also has `times`: cold (0, 1), start, load, revision, wait | |
 * | ERROR, ABORT | L | n | an error of the catalogue, before or after a head | |
 */
export const PeerFrame = {
  HELLO: FrameType.HELLO,
  CALL: FrameType.CALL,
  DATA: FrameType.DATA,
  CREDIT: FrameType.CREDIT,
  CANCEL: FrameType.CANCEL,
  ABORT: FrameType.ABORT,
  ERROR: FrameType.ERROR,
  PING: FrameType.PING,
  PONG: FrameType.PONG,
  BUSY: FrameType.BUSY,
  PROOF: 40,
  WARM: 41,
  QUEUED: 42,
  BEGIN: 43,
  GO: 44,
} as const;

export const PEER_PROTOCOL = 1;

const MAX_TEXT = 8 * 1024;

/** What a gateway says of itself with every ping. */
export interface PeerFacts {
  state: GatewayState;
  /** Whatever else gateways tell each other all the time: load, shares of what is limited. */
  extra: Readonly<Record<string, unknown>>;
}

export function encodeFacts({ state, extra }: PeerFacts): string {
  return JSON.stringify({ state, extra });
}

/** @throws ProtocolError */
export function parseFacts(meta: Buffer): PeerFacts {
  const { state, extra } = parseMeta(meta);
  if (state !== "starting" && state !== "ready" && state !== "draining") throw new ProtocolError("a ping without a state");
  return { state, extra: isObject(extra) ? extra : {} };
}

/** A call that goes to its function's owner, which passes its head on as it is. */
export interface ForwardedCall {
  uid: string;
  id: string;
  timeoutMs: number;
  /** It was sent on once already: whoever gets it now keeps it. */
  last: boolean;
}

const LINE_FEED = 0x0a;

/** hot */
export function encodeCall(uid: string, last: boolean, head: CallHead): string {
  return `${JSON.stringify({ uid, id: head.id, timeoutMs: head.timeoutMs, last })}\n${head.encoded ?? JSON.stringify(head)}`;
}

/** hot: `meta` of CALL in its two parts. @throws ProtocolError */
export function parseCall(meta: Buffer): { fields: Record<string, unknown>; head: string } {
  const end = meta.indexOf(LINE_FEED);
  if (end < 0) return { fields: parseMeta(meta), head: "" };
  return { fields: parseMeta(meta.subarray(0, end)), head: meta.toString("utf8", end + 1) };
}

/** @throws ProtocolError */
export function readForwardedCall({ uid, id, timeoutMs, last }: Record<string, unknown>): ForwardedCall {
  if (typeof uid !== "string" || typeof id !== "string") throw new ProtocolError("a call without its names");
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0)) throw new ProtocolError("a call without a timeout");
  return { uid, id, timeoutMs, last: last === true };
}

/** The head of a call that is passed on: what stands in it is read only by whoever asks. */
export class PassedHead implements CallHead {
  readonly id: string;
  readonly timeoutMs: number;
  readonly encoded: string;
  #read: CallHead | undefined;

  constructor({ id, timeoutMs }: ForwardedCall, encoded: string) {
    this.id = id;
    this.timeoutMs = timeoutMs;
    this.encoded = encoded;
  }

  get method(): string {
    return this.#head().method;
  }

  get path(): string {
    return this.#head().path;
  }

  get query(): CallHead["query"] {
    return this.#head().query;
  }

  get headers(): CallHead["headers"] {
    return this.#head().headers;
  }

  get trigger(): CallHead["trigger"] {
    return this.#head().trigger;
  }

  #head(): CallHead {
    this.#read ??= JSON.parse(this.encoded) as CallHead;
    return this.#read;
  }
}

export function timesOf(times: CallTimes): RemoteTimes {
  const { cold, startMs, loadMs, compileMs, revision, sentAtMs, arrivedAtMs } = times;
  return { cold, startMs, loadMs, compileMs, revision, queueMs: sentAtMs === 0 ? 0 : sentAtMs - arrivedAtMs };
}

export interface RemoteHead extends ResponseHead {
  times: RemoteTimes;
}

const OBJECT_END = 0x7d;

/** hot: what the replica sent, with what became of the call's time. */
export function encodeHead({ meta, kind, headers, durationMs }: ResponseHead, times: CallTimes): string {
  const told = `"times":[${listTimes(timesOf(times)).join()}]}`;
  const isWhole = meta !== undefined && meta.at(-1) === OBJECT_END;
  const text = isWhole ? meta.toString() : JSON.stringify({ kind, headers, durationMs });
  return `${text.slice(0, -1)},${told}`;
}

/** hot @throws ProtocolError */
export function parseRemoteHead(status: number, meta: Buffer): RemoteHead {
  const fields = parseMeta(meta);
  return Object.assign(readResponseHead(status, fields, meta), { times: readTimes(fields["times"]) });
}

function readTimes(value: unknown): RemoteTimes {
  const [cold, startMs, loadMs, revision, queueMs, compileMs] = Array.isArray(value) ? (value as unknown[]) : [];
  return {
    cold: cold === 1,
    startMs: figure(startMs),
    loadMs: figure(loadMs),
    compileMs: figure(compileMs),
    revision: figure(revision),
    queueMs: figure(queueMs),
  };
}

function listTimes({ cold, startMs, loadMs, compileMs, revision, queueMs }: RemoteTimes): number[] {
  return [cold ? 1 : 0, startMs, loadMs, revision, queueMs, compileMs];
}

/** An error as it crosses; stack and cause stay with whoever logs them. Details that do not fit are left out. */
export function encodeError(error: KsError, call?: { reached: boolean; times: CallTimes }): string {
  const { code, retryAfterMs, headers, details } = error;
  const fields = {
    code,
    message: error.message.slice(0, MAX_TEXT),
    retryAfterMs,
    headers,
    ...(call === undefined ? {} : { reached: call.reached, times: listTimes(timesOf(call.times)) }),
  };
  const whole = JSON.stringify({ ...fields, details });
  return Buffer.byteLength(whole) <= MAX_META_BYTES ? whole : JSON.stringify(fields);
}

/** @throws ProtocolError */
export function parseError(meta: Buffer): RemoteFailure {
  const { code, message, details, retryAfterMs, headers, reached, times } = parseMeta(meta);
  const options: KsErrorOptions = {};
  if (typeof message === "string") options.message = message;
  if (details !== undefined) options.details = details;
  if (typeof retryAfterMs === "number") options.retryAfterMs = retryAfterMs;
  if (isTextRecord(headers)) options.headers = headers;
  return new RemoteFailure(isCode(code) ? code : "INTERNAL", options, reached === true, readTimes(times));
}

export function encodeGivenBack({ reason, owner }: GivenBack): string {
  return JSON.stringify({ reason, owner });
}

/** @throws ProtocolError */
export function parseGivenBack(meta: Buffer): GivenBack {
  const { reason, owner } = parseMeta(meta);
  return { reason: reason === "unknown" ? "unknown" : "not-owner", owner: typeof owner === "string" ? owner : undefined };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTextRecord(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((text) => typeof text === "string");
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(ERRORS, code);
}

function figure(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
