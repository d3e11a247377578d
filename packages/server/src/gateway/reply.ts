import type { IncomingMessage, ServerResponse } from "node:http";
import { TLSSocket } from "node:tls";
import { KsError } from "@kube-serverless/contracts";
import { sendError } from "../http/send-error.ts";
import type { WholeAnswers } from "../http/whole-answers.ts";
import type { BodyKind, ResponseHead } from "../instances/port.ts";
import type { Call, CallReceiver } from "../dispatch/call.ts";
import { allowsBody, appendCallHeaders, defaultContentType, filterFunctionHeaders, hasHeader } from "./reply-head.ts";

/** Largest body that is collected. */
export const MAX_RESPONSE_BYTES = 6 * 1024 * 1024;

function sendCallError(req: IncomingMessage, res: ServerResponse, call: Call, error: KsError): void {
  const headers: string[] = [];
  appendCallHeaders(headers, call);
  // sendError sets the request id itself.
  headers.splice(headers.indexOf("X-Request-Id"), 2);
  sendError(req, res, error, call.head.id, headers);
}

/** The answer of a trigger, `/fn` or a function's host: the function's own status, headers and body, streamed where it streams. */
export class TriggerReply implements CallReceiver {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #answers: WholeAnswers;

  constructor(req: IncomingMessage, res: ServerResponse, answers: WholeAnswers) {
    this.#req = req;
    this.#res = res;
    this.#answers = answers;
  }

  onHead(call: Call, head: ResponseHead, piece: Buffer, more: boolean): void {
    // What ends at once holds no place in a replica, whoever reads it.
    if (more) this.#boundPauses(call);
    let headers: string[];
    try {
      headers = filterFunctionHeaders(head.headers);
    } catch (error) {
      if (!(error instanceof KsError)) throw error;
      return call.refuse(error);
    }
    const contentType = defaultContentType(head.kind);
    if (contentType !== undefined && !hasHeader(headers, "content-type")) headers.push("Content-Type", contentType);
    appendCallHeaders(headers, call);
    const hasBody = allowsBody(head);
    if (!more) return this.#answers.send(this.#res, { status: head.status, headers, body: hasBody ? piece : undefined });
    this.#res.writeHead(head.status, headers);
    if (hasBody) this.#write(call, piece, false);
    else this.#endEarly(call);
  }

  onData(call: Call, piece: Buffer, more: boolean): void {
    if (this.#res.writableEnded) return;
    if (more) this.#write(call, piece, true);
    else this.#res.end(piece);
  }

  onFailed(call: Call, error: KsError): void {
    if (this.#res.headersSent) cut(this.#req, this.#res, error);
    else sendCallError(this.#req, this.#res, call, withoutStack(error));
  }

  #write(call: Call, piece: Buffer, counted: boolean): void {
    this.#res.write(piece, (error) => {
      if (error == null && counted) call.handle?.credit(piece.length);
    });
  }

  /** A caller that takes nothing for as long as the function may pause holds its place no longer. */
  #boundPauses(call: Call): void {
    const req = this.#req;
    const res = this.#res;
    const { timeoutMs } = call.head;
    res.setTimeout(timeoutMs, () => {
      // Not a byte moved, but was there one to take? Else the function pauses, which its replica's deadline sees to.
      if (req.socket.writableLength > 0) reset(req);
      else res.setTimeout(timeoutMs);
    });
  }

  #endEarly(call: Call): void {
    this.#res.end();
    call.abandon();
  }
}

/** Ends a response that has begun without its last chunk, so that nobody takes it for whole. */
function cut(req: IncomingMessage, res: ServerResponse, error: KsError): void {
  if (error.code === "CLIENT_CLOSED") return void res.destroy();
  // In HTTP/1.0 the end of the connection is the end of the body: a reset is not.
  if (req.httpVersionMinor === 0) return reset(req);
  // What the function had sent before leaves with this turn of the event loop.
  setImmediate(() => res.destroy());
}

/** Ends the connection so that what was received does not look whole. */
function reset({ socket }: IncomingMessage): void {
  if (socket instanceof TLSSocket) socket.destroy();
  else socket.resetAndDestroy();
}

/** Type and stack of a function's error are for whoever manages it, not for its callers. */
function withoutStack(error: KsError): KsError {
  return error.kind === "function" && error.details !== undefined
    ? new KsError(error.code, { message: error.message, cause: error })
    : error;
}

/** Of most answers, which come in one piece. */
const NO_PIECES: Buffer[] = [];

/** The answer of `/invoke`: 200 and the documented envelope, whatever status the function chose. */
export class InvokeReply implements CallReceiver {
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #answers: WholeAnswers;
  #head: ResponseHead | undefined;
  #pieces: Buffer[] = NO_PIECES;
  #bytes = 0;

  constructor(req: IncomingMessage, res: ServerResponse, answers: WholeAnswers) {
    this.#req = req;
    this.#res = res;
    this.#answers = answers;
  }

  onHead(call: Call, head: ResponseHead, piece: Buffer, more: boolean): void {
    if (!more) return this.#send(call, head, piece);
    this.#head = head;
    this.#pieces = [];
    this.#collect(call, piece);
  }

  onData(call: Call, piece: Buffer, more: boolean): void {
    if (this.#res.writableEnded) return;
    if (more) call.handle?.credit(piece.length);
    if (!this.#collect(call, piece) || more) return;
    this.#send(call, this.#head!, Buffer.concat(this.#pieces));
  }

  onFailed(call: Call, error: KsError): void {
    if (!this.#res.writableEnded) sendCallError(this.#req, this.#res, call, error);
  }

  #collect(call: Call, piece: Buffer): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes <= MAX_RESPONSE_BYTES) return true;
    this.#pieces = [];
    const message = `The function's response is over ${MAX_RESPONSE_BYTES} bytes. Call it through /fn or an HTTP trigger to stream it`;
    call.refuse(new KsError("RESPONSE_TOO_LARGE", { message, details: { limitBytes: MAX_RESPONSE_BYTES } }));
    return false;
  }

  #send(call: Call, head: ResponseHead, body: Buffer): void {
    let functionHeaders: string[];
    try {
      functionHeaders = head.headers.length === 0 ? [] : filterFunctionHeaders(head.headers);
    } catch (error) {
      if (!(error instanceof KsError)) throw error;
      return call.refuse(error);
    }
    const headers = ["Content-Type", "application/json; charset=utf-8"];
    appendCallHeaders(headers, call);
    this.#answers.send(this.#res, { status: 200, headers, body: buildEnvelope(head.status, functionHeaders, head.kind, body) });
  }
}

const PLAIN_PREFIX = Buffer.from('{"statusCode":200,"body":');
const CLOSE = 0x7d;

/** hot: `{"statusCode": …, "headers": …, "body": …}`; a JSON body is put in as it came. */
export function buildEnvelope(status: number, headers: readonly string[], kind: BodyKind, body: Buffer): Buffer {
  const prefix = status === 200 && headers.length === 0 ? PLAIN_PREFIX : Buffer.from(buildPrefix(status, headers));
  const value = kind === "json" ? body : Buffer.from(encodeValue(kind, body));
  const suffix = kind === "binary" ? ',"isBase64Encoded":true}' : undefined;
  const envelope = Buffer.allocUnsafe(prefix.length + value.length + (suffix?.length ?? 1));
  prefix.copy(envelope, 0);
  value.copy(envelope, prefix.length);
  if (suffix === undefined) envelope[envelope.length - 1] = CLOSE;
  else envelope.write(suffix, prefix.length + value.length, "latin1");
  return envelope;
}

function buildPrefix(status: number, headers: readonly string[]): string {
  if (headers.length === 0) return `{"statusCode":${status},"body":`;
  const fields: Record<string, string | string[]> = {};
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    const before = Object.hasOwn(fields, name) ? fields[name] : undefined;
    const next = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
    Object.defineProperty(fields, name, { value: next, enumerable: true, configurable: true, writable: true });
  }
  return `{"statusCode":${status},"headers":${JSON.stringify(fields)},"body":`;
}

function encodeValue(kind: BodyKind, body: Buffer): string {
  if (kind === "text") return JSON.stringify(body.toString("utf8"));
  return kind === "binary" ? `"${body.toString("base64")}"` : "null";
}
