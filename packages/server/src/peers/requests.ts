import { KsError } from "@kube-serverless/contracts";
import type { ResponseHead } from "../instances/port.ts";
import type { RunningCall } from "../instances/running-call.ts";
import { CreditedBody } from "./credited-body.ts";
import type { InboundStream, StreamServant } from "./inbound-stream.ts";
import type { PeerLink, PeerSink } from "./link.ts";
import { sayNoOwner } from "./remote-errors.ts";
import { encodeError, PeerFrame } from "./wire.ts";

/** What is known of whoever asks. */
export interface RequestContext {
  /** The gateway that asks. */
  readonly from: string;
  /** Aborted when it does not want the answer any more. */
  readonly signal: AbortSignal;
}

/** Answers a request with one value. */
export type RequestHandler = (params: unknown, context: RequestContext) => unknown;
/** Answers a request with any number of items; `send` gives false once nobody takes them. Resolves at the end. */
export type StreamHandler = (params: unknown, context: RequestContext, send: (item: unknown) => boolean) => Promise<void>;

/** A follower that lags behind by so much is cut off. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** One request that this gateway makes: items as they come, then the end. */
class RequestSink implements PeerSink {
  readonly #onItem: (item: unknown) => void;
  readonly #settle: PromiseWithResolvers<void>;
  running: RunningCall<PeerSink> | undefined;
  #rest = "";
  readonly #decoder = new TextDecoder();

  constructor(onItem: (item: unknown) => void, settle: PromiseWithResolvers<void>) {
    this.#onItem = onItem;
    this.#settle = settle;
  }

  onHead(_head: ResponseHead, piece: Buffer, more: boolean): void {
    this.#take(piece, more);
  }

  onData(piece: Buffer, more: boolean): void {
    this.#take(piece, more);
    if (more) this.running?.credit(piece.length);
  }

  onError(error: KsError): void {
    this.#settle.reject(error);
  }

  onStalled(): void {
    // Requests have no deadline of their stream's.
  }

  onNotStarted(cause: KsError): void {
    this.#settle.reject(cause);
  }

  onQueued(): void {
    // Only calls wait.
  }

  onBegin(): boolean {
    return false;
  }

  onLost(peer: string): void {
    this.#settle.reject(new KsError("NO_CAPACITY", { message: `The gateway ${peer} was lost before its answer came`, retryAfterMs: 1000 }));
  }

  #take(piece: Buffer, more: boolean): void {
    const lines = (this.#rest + this.#decoder.decode(piece, { stream: more })).split("\n");
    this.#rest = lines.pop() ?? "";
    try {
      for (const line of lines) this.#onItem(JSON.parse(line));
    } catch (cause) {
      return this.#settle.reject(cause);
    }
    if (this.#rest.length > MAX_ANSWER_BYTES) this.#settle.reject(new KsError("INTERNAL", { message: "a gateway's answer has no end" }));
    else if (!more) this.#settle.resolve();
  }
}

export interface RequestOptions {
  signal?: AbortSignal;
}

/**
 * Asks a gateway, and hands on each item of its answer; resolves at the end.
 * @throws KsError its error, or that it is gone; whatever aborted the signal
 */
export async function sendRequest(
  link: PeerLink | undefined,
  name: string,
  params: unknown,
  onItem: (item: unknown) => void,
  { signal }: RequestOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  const settle = Promise.withResolvers<void>();
  const sink = new RequestSink(onItem, settle);
  const body = Buffer.from(JSON.stringify(params ?? null));
  sink.running = link?.open(JSON.stringify({ request: name }), [body], sink);
  if (link === undefined || sink.running === undefined) throw sayNoOwner();
  const { stream } = sink.running;
  const abort = (): void => settle.reject(signal?.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    await settle.promise;
  } catch (error) {
    link.giveUp(stream);
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** What gateways may ask of this one, by name. */
export class RequestHandlers {
  readonly #handlers = new Map<string, StreamHandler>();

  handle(name: string, handler: RequestHandler): void {
    this.handleStream(name, async (params, context, send) => {
      send(await handler(params, context));
    });
  }

  handleStream(name: string, handler: StreamHandler): void {
    if (this.#handlers.has(name)) throw new Error(`requests of the name ${name} have a handler`);
    this.#handlers.set(name, handler);
  }

  servant(name: string, from: string, stream: InboundStream): StreamServant {
    const handler = this.#handlers.get(name);
    if (handler === undefined) {
      // A gateway of another version may ask what this one does not know.
      stream.fail(PeerFrame.ERROR, encodeError(new KsError("ROUTE_NOT_FOUND", { message: `This gateway knows no request ${name}` })));
      return NOBODY;
    }
    return new RequestServant(handler, from, stream);
  }
}

const NOBODY: StreamServant = {
  onWhole: () => undefined,
  onCredit: () => undefined,
  onGo: () => undefined,
  onCancelled: () => undefined,
};

const REQUEST_HEAD = JSON.stringify({ kind: "json", durationMs: 0 });
const EMPTY = Buffer.alloc(0);

class RequestServant implements StreamServant {
  readonly #handler: StreamHandler;
  readonly #from: string;
  readonly #stream: InboundStream;
  readonly #body: CreditedBody;
  readonly #aborter = new AbortController();
  #hasHead = false;

  constructor(handler: StreamHandler, from: string, stream: InboundStream) {
    this.#handler = handler;
    this.#from = from;
    this.#stream = stream;
    this.#body = new CreditedBody((piece, more) => stream.sendData(piece, more));
  }

  onWhole(body: readonly Buffer[]): void {
    this.#answer(body).catch((error: unknown) => {
      const known = error instanceof KsError ? error : new KsError("INTERNAL", { cause: error });
      this.#stream.fail(this.#hasHead ? PeerFrame.ABORT : PeerFrame.ERROR, encodeError(known));
    });
  }

  onCredit(bytes: number): void {
    this.#body.grant(bytes);
  }

  onGo(): void {
    // Requests never wait.
  }

  onCancelled(): void {
    this.#aborter.abort();
  }

  async #answer(body: readonly Buffer[]): Promise<void> {
    const params: unknown = JSON.parse(Buffer.concat(body).toString());
    const { signal } = this.#aborter;
    await this.#handler(params, { from: this.#from, signal }, (item) => this.#send(item));
    if (signal.aborted) return;
    this.#begin();
    this.#body.end();
  }

  #send(item: unknown): boolean {
    if (this.#stream.ended) return false;
    this.#begin();
    this.#body.push(Buffer.from(`${JSON.stringify(item ?? null)}\n`));
    if (this.#body.unsentBytes <= MAX_UNSENT_BYTES) return true;
    this.#stream.fail(PeerFrame.ABORT, encodeError(new KsError("CLIENT_CLOSED", { message: "The answer was taken too slowly" })));
    this.#aborter.abort();
    return false;
  }

  #begin(): void {
    if (this.#hasHead) return;
    this.#hasHead = true;
    this.#stream.sendHead(200, REQUEST_HEAD, EMPTY, true);
  }
}
