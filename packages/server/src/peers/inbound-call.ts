import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import { Call, type CallReceiver } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { CallHandle, CallHead, Replica, ResponseHead } from "../instances/port.ts";
import { MAX_META_BYTES } from "../protocol/frames.ts";
import type { InboundStream, StreamServant } from "./inbound-stream.ts";
import { encodeError, encodeGivenBack, encodeHead, parseError, PeerFrame } from "./wire.ts";

/** A call of another gateway's caller that runs here. */
export class InboundCall extends Call {
  readonly #stream: InboundStream;
  /** It was in the queue: its gateway may have sent it elsewhere meanwhile, and is asked before it begins. */
  #waited = false;
  /** Has a place and waits for GO. */
  #held: Replica | undefined;

  constructor(
    dispatcher: Dispatcher,
    head: CallHead,
    body: readonly Buffer[],
    bodyBytes: number,
    stream: InboundStream,
    arrivedAtMs: number,
  ) {
    super(dispatcher, head, body, bodyBytes, new StreamReceiver(stream), arrivedAtMs);
    this.#stream = stream;
  }

  /** It is in the queue. */
  wait(): void {
    this.#waited = true;
    this.#stream.queued();
  }

  /** It waits in vain here: its gateway sends it to the owner. */
  giveBack(owner: string): void {
    this.end();
    this.#stream.fail(PeerFrame.BUSY, encodeGivenBack({ reason: "not-owner", owner }));
  }

  override begin(replica: Replica): CallHandle {
    if (!this.#waited) return super.begin(replica);
    this.#held = replica;
    this.#stream.askToBegin();
    return {
      cancel: () => {
        this.#held = undefined;
        this.onNotStarted(new KsError("CLIENT_CLOSED"));
      },
      credit: () => undefined,
    };
  }

  go(): void {
    const replica = this.#held;
    if (replica === undefined) return;
    this.#held = undefined;
    this.#waited = false;
    if (replica.accepting) this.handle = super.begin(replica);
    else this.onNotStarted(new KsError("NO_CAPACITY", { retryAfterMs: 1000 }));
  }
}

/** Leads the answer of a call back to the gateway that its caller talks to. */
class StreamReceiver implements CallReceiver {
  readonly #stream: InboundStream;

  constructor(stream: InboundStream) {
    this.#stream = stream;
  }

  /** hot */
  onHead(call: Call, head: ResponseHead, piece: Buffer, more: boolean): void {
    const meta = encodeHead(head, call.times);
    // A UTF-16 unit takes at most 3 bytes of UTF-8.
    if (meta.length * 3 <= MAX_META_BYTES || Buffer.byteLength(meta) <= MAX_META_BYTES)
      this.#stream.sendHead(head.status, meta, piece, more);
    else call.refuse(sayHeadTooLarge());
  }

  /** hot */
  onData(_call: Call, piece: Buffer, more: boolean): void {
    this.#stream.sendData(piece, more);
  }

  onFailed(call: Call, error: KsError): void {
    this.#stream.fail(call.hasHead && call.refusal === undefined ? PeerFrame.ABORT : PeerFrame.ERROR, encodeError(error, call));
  }
}

function sayHeadTooLarge(): KsError {
  const message = "Internal server error: the function's response cannot be sent: its headers take more than 65535 bytes";
  return new KsError("FUNCTION_ERROR", { message, details: { type: "InvalidResponse" } });
}

/** What serves a forwarded call of a function that is owned here. */
export class CallServant implements StreamServant {
  readonly #head: CallHead;
  readonly #stream: InboundStream;
  readonly #dispatcher: Dispatcher;
  readonly #clock: Clock;
  #call: InboundCall | undefined;

  constructor(head: CallHead, stream: InboundStream, dispatcher: Dispatcher, clock: Clock) {
    this.#head = head;
    this.#stream = stream;
    this.#dispatcher = dispatcher;
    this.#clock = clock;
  }

  onWhole(body: readonly Buffer[], bytes: number): void {
    const call = new InboundCall(this.#dispatcher, this.#head, body, bytes, this.#stream, this.#clock.monotonicMs());
    this.#call = call;
    this.#dispatcher.submit(call);
    if (call.slot === undefined && !call.ended) call.wait();
  }

  onCredit(bytes: number): void {
    this.#call?.handle?.credit(bytes);
  }

  onGo(): void {
    this.#call?.go();
  }

  onCancelled(meta: Buffer): void {
    if (this.#call === undefined) return;
    if (meta.length > 0) this.#call.refusal ??= parseError(meta);
    this.#call.abandon();
  }
}
