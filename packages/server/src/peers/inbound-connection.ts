import { FrameType, parseMeta, ProtocolError } from "../protocol/frames.ts";
import type { PeerChannel } from "./channel.ts";
import type { PeerIdentity } from "./handshake.ts";
import { InboundStream, type StreamServant } from "./inbound-stream.ts";
import { parseFacts, type PeerFacts, PeerFrame } from "./wire.ts";

/** What a gateway does for others. */
export interface InboundService {
  /** Serves a call or request by its `meta`; undefined where the stream was ended at once. */
  accept(meta: Buffer, stream: InboundStream, from: PeerIdentity): StreamServant | undefined;
  /** A call of this function is on its way. */
  warm(uid: string): void;
  /** What this gateway says of itself. */
  facts(): string;
  /** What the other one says of itself. */
  onFacts(from: PeerIdentity, facts: PeerFacts): void;
}

/** Another gateway's connection to this one, once it is proven. */
export class InboundConnection {
  readonly peer: PeerIdentity;
  readonly #channel: PeerChannel;
  readonly #service: InboundService;
  readonly #streams = new Map<number, InboundStream>();
  #lastStream = 0;

  constructor(peer: PeerIdentity, channel: PeerChannel, service: InboundService) {
    this.peer = peer;
    this.#channel = channel;
    this.#service = service;
    channel.handle(
      (...frame) => this.#receive(...frame),
      () => undefined,
    );
    void channel.closed.then(() => this.#closed());
    this.announce();
  }

  /** Says unasked how this gateway is. */
  announce(): void {
    this.#channel.send(0, PeerFrame.PONG, false, this.#service.facts());
  }

  close(reason: Error): void {
    this.#channel.close(reason);
  }

  /** hot */
  #receive(stream: number, kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (stream === 0) this.#receiveControl(kind, meta);
    else if (kind === PeerFrame.CALL) this.#open(stream, more, meta, body);
    else if (stream > this.#lastStream) throw new ProtocolError(`stream ${stream} was never opened`);
    // Of streams that have ended something may still be under way.
    else this.#receiveOf(this.#streams.get(stream), kind, more, meta, body);
  }

  #receiveControl(kind: number, meta: Buffer): void {
    if (kind === PeerFrame.PING) {
      this.#service.onFacts(this.peer, parseFacts(meta));
      this.announce();
    } else if (kind === PeerFrame.WARM) {
      const { uid } = parseMeta(meta);
      if (typeof uid !== "string") throw new ProtocolError("WARM without a function");
      this.#service.warm(uid);
    } else if (kind >= 200 || kind in KNOWN_OF_REPLICAS) throw new ProtocolError(`type ${kind} from a gateway that has dialled`);
  }

  #open(stream: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (stream <= this.#lastStream) throw new ProtocolError(`stream ${stream} was opened before`);
    this.#lastStream = stream;
    const inbound = new InboundStream(this.#channel, stream, (ended) => this.#streams.delete(ended));
    this.#streams.set(stream, inbound);
    inbound.servant = this.#service.accept(meta, inbound, this.peer);
    if (!inbound.ended) inbound.begin(body, more);
  }

  #receiveOf(stream: InboundStream | undefined, kind: number, more: boolean, meta: Buffer, body: Buffer): void {
    if (kind === PeerFrame.DATA) stream?.receiveData(body, more);
    else if (kind === PeerFrame.CREDIT) stream?.receiveCredit(body);
    else if (kind === PeerFrame.CANCEL) stream?.cancel(meta);
    else if (kind === PeerFrame.GO) stream?.servant?.onGo();
    else if (kind >= 200 || kind in KNOWN_OF_REPLICAS) throw new ProtocolError(`type ${kind} from a gateway that has dialled`);
  }

  #closed(): void {
    for (const stream of [...this.#streams.values()]) stream.cancel(EMPTY);
  }
}

const EMPTY = Buffer.alloc(0);
/** What only replicas and pods say: here it is no newer version's word but a mistake. */
const KNOWN_OF_REPLICAS: Readonly<Record<number, true>> = {
  [FrameType.HELLO]: true,
  [FrameType.SPECIALISE]: true,
  [FrameType.READY]: true,
  [FrameType.FAILED]: true,
  [FrameType.LOG]: true,
};
