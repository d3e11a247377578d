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
 * | CALL | D | n | a call: its head with `uid` and `last`; a request: `{request, timeoutMs}` | first piece |
 * | QUEUED | L | n | the call waits for a place: until BEGIN it has not begun | |
 * | BEGIN, GO | L, D | n | there is a place: may it begin? Yes. | |
 * | BUSY | L | n | `{reason, owner?}`: the call has not begun and will not begin here | |
 * | CANCEL | D | n | nothing of this stream is wanted any more, its last frame; an error where the answer was refused | |
 * | status, DATA, CREDIT | both | n | a head also has `revision`, `queueMs`, `cold?` | |
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

/** A call that goes to its function's owner. */
export interface ForwardedHead extends CallHead {
  uid: string;
  /** It was sent on once already: whoever gets it now keeps it. */
  last: boolean;
}

/** @throws ProtocolError */
export function parseForwardedHead(fields: Record<string, unknown>): ForwardedHead {
  const { uid, last, id, method, path, query, headers, trigger, timeoutMs } = fields;
  for (const text of [uid, id, method, path]) if (typeof text !== "string") throw new ProtocolError("a call without its names");
  if (!isObject(query) || !isObject(headers) || !isObject(trigger)) throw new ProtocolError("a call without its parts");
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0)) throw new ProtocolError("a call without a timeout");
  if (typeof last !== "boolean") throw new ProtocolError("a call without its way");
  return fields as unknown as ForwardedHead;
}

export function timesOf(times: CallTimes): RemoteTimes {
  const { cold, startMs, loadMs, revision, sentAtMs, arrivedAtMs } = times;
  return { cold, startMs, loadMs, revision, queueMs: sentAtMs === 0 ? 0 : sentAtMs - arrivedAtMs };
}

export interface RemoteHead extends ResponseHead {
  times: RemoteTimes;
}

/** hot */
export function encodeHead(head: ResponseHead, times: CallTimes): string {
  return JSON.stringify({ kind: head.kind, headers: head.headers, durationMs: head.durationMs, times: timesOf(times) });
}

/** hot @throws ProtocolError */
export function parseRemoteHead(status: number, meta: Buffer): RemoteHead {
  const fields = parseMeta(meta);
  return Object.assign(readResponseHead(status, fields), { times: parseTimes(fields["times"]) });
}

function parseTimes(value: unknown): RemoteTimes {
  const { cold, startMs, loadMs, revision, queueMs } = isObject(value) ? value : {};
  return { cold: cold === true, startMs: figure(startMs), loadMs: figure(loadMs), revision: figure(revision), queueMs: figure(queueMs) };
}

/** An error as it crosses; stack and cause stay with whoever logs them. Details that do not fit are left out. */
export function encodeError(error: KsError, call?: { reached: boolean; times: CallTimes }): string {
  const { code, retryAfterMs, headers, details } = error;
  const fields = {
    code,
    message: error.message.slice(0, MAX_TEXT),
    retryAfterMs,
    headers,
    ...(call === undefined ? {} : { reached: call.reached, times: timesOf(call.times) }),
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
  return new RemoteFailure(isCode(code) ? code : "INTERNAL", options, reached === true, parseTimes(times));
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
