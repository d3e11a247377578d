import { connect, type Socket } from "node:net";
import type { Clock, Timer } from "../clock.ts";
import { CallStreams, type StreamDialect } from "../instances/call-streams.ts";
import type { CallSink } from "../instances/port.ts";
import type { RunningCall } from "../instances/running-call.ts";
import { ProtocolError } from "../protocol/frames.ts";
import { PeerChannel } from "./channel.ts";
import { hostOf, type PeerIdentity, type PeerKeys, portOf, proveAsDialler } from "./handshake.ts";
import { GivenBackError } from "./remote-errors.ts";
import { parseError, parseFacts, parseGivenBack, parseRemoteHead, type PeerFacts, PeerFrame } from "./wire.ts";

const CONNECT_TIMEOUT_MS = 1000;
const PROOF_TIMEOUT_MS = 2000;
const FIRST_REDIAL_MS = 50;
const MAX_REDIAL_MS = 1000;
/** No limit here: the owner holds calls to their time. */
const NO_DEADLINE = Number.POSITIVE_INFINITY;

/** Who waits for what was sent to another gateway. */
export interface PeerSink extends CallSink {
  /** It waits for a place over there. */
  onQueued(): void;
  /** There is a place: true lets it begin. */
  onBegin(): boolean;
  /** The connection is gone; nothing else comes. */
  onLost(peer: string): void;
}

export interface LinkEvents {
  /** Proven: calls may go there. */
  onOpen(link: PeerLink): void;
  onFacts(link: PeerLink, facts: PeerFacts): void;
  /** Something came, or is about to be looked at. */
  onHeard(link: PeerLink): void;
  /** Nobody listens at its address. */
  onRefused(link: PeerLink): void;
  /** It was proven and is no more. */
  onClosed(link: PeerLink): void;
  /** An attempt came to nothing. */
  onFailed(link: PeerLink, error: Error): void;
}

const DIALECT: StreamDialect = {
  parseHead: parseRemoteHead,
  parseError,
  parseAbort: parseError,
  parseBusy: (meta) => new GivenBackError(parseGivenBack(meta)),
};

/** This gateway's connection to another one: dialled again whenever it is gone, and used for what goes there. */
export class PeerLink {
  readonly peer: PeerIdentity;
  readonly #self: PeerIdentity;
  readonly #clock: Clock;
  readonly #keys: () => PeerKeys;
  readonly #events: LinkEvents;
  #channel: PeerChannel | undefined;
  #streams: CallStreams<PeerSink> | undefined;
  #attempt: { close(reason: Error): void } | undefined;
  #redial: Timer | undefined;
  #redialMs = FIRST_REDIAL_MS;
  #stopped = false;

  constructor(self: PeerIdentity, peer: PeerIdentity, clock: Clock, keys: () => PeerKeys, events: LinkEvents) {
    this.#self = self;
    this.peer = peer;
    this.#clock = clock;
    this.#keys = keys;
    this.#events = events;
  }

  get isOpen(): boolean {
    return this.#streams !== undefined;
  }

  /** What is under way over there. */
  get size(): number {
    return this.#streams?.size ?? 0;
  }

  start(): void {
    this.#dial().then(
      (channel) => this.#serve(channel),
      (error: Error) => this.#failed(error),
    );
  }

  /** Opens a stream; undefined while there is no connection. */
  open(meta: string, body: readonly Buffer[], sink: PeerSink): RunningCall<PeerSink> | undefined {
    return this.#streams?.open(meta, NO_DEADLINE, body, sink);
  }

  /** Nothing more is wanted of the stream; `meta` says why. */
  giveUp(stream: number, meta = ""): void {
    this.#streams?.giveUp(stream, meta);
  }

  ping(facts: string): void {
    this.#channel?.send(0, PeerFrame.PING, false, facts);
  }

  warm(uid: string): void {
    this.#channel?.send(0, PeerFrame.WARM, false, JSON.stringify({ uid }));
  }

  /** Ends the connection, as nothing comes any more, and dials anew. */
  cut(reason: Error): void {
    this.#channel?.close(reason);
  }

  stop(): void {
    this.#stopped = true;
    this.#redial?.cancel();
    const reason = new Error("this gateway has ended the connection");
    this.#attempt?.close(reason);
    this.#channel?.close(reason);
  }

  async #dial(): Promise<PeerChannel> {
    const socket = await this.#connect();
    const channel = new PeerChannel(socket);
    this.#attempt = channel;
    const timer = this.#clock.setTimer(PROOF_TIMEOUT_MS, () => channel.close(new Error(`no proof within ${PROOF_TIMEOUT_MS} ms`)));
    try {
      await proveAsDialler(channel, this.#self, this.peer, this.#keys());
      return channel;
    } catch (error) {
      channel.close(error as Error);
      throw error;
    } finally {
      timer.cancel();
      this.#attempt = undefined;
    }
  }

  #connect(): Promise<Socket> {
    const { address } = this.peer;
    return new Promise((resolve, reject) => {
      const socket = connect({ host: hostOf(address), port: portOf(address), localAddress: hostOf(this.#self.address) });
      const timer = this.#clock.setTimer(CONNECT_TIMEOUT_MS, () => fail(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)));
      const fail = (error: Error): void => {
        timer.cancel();
        socket.destroy();
        reject(error);
      };
      this.#attempt = { close: fail };
      socket.once("error", fail);
      socket.once("connect", () => {
        timer.cancel();
        socket.off("error", fail);
        resolve(socket);
      });
    });
  }

  #serve(channel: PeerChannel): void {
    if (this.#stopped) return channel.close(new Error("this gateway has ended the connection"));
    this.#redialMs = FIRST_REDIAL_MS;
    this.#channel = channel;
    const streams = new CallStreams<PeerSink>(this.#clock, { onIdle: () => undefined, onTimedOut: () => undefined }, DIALECT);
    streams.connect(channel.writer);
    streams.start();
    this.#streams = streams;
    void channel.closed.then((error) => this.#lost(streams, error));
    this.#events.onOpen(this);
    channel.handle(
      (stream, kind, more, meta, body) => this.#receive(streams, channel, stream, kind, more, meta, body),
      () => this.#events.onHeard(this),
    );
  }

  /** hot */
  #receive(
    streams: CallStreams<PeerSink>,
    channel: PeerChannel,
    stream: number,
    kind: number,
    more: boolean,
    meta: Buffer,
    body: Buffer,
  ): void {
    if (kind >= 200) streams.receiveHead(stream, kind, more, meta, body);
    else if (kind === PeerFrame.DATA) streams.receiveData(stream, more, body);
    else if (kind === PeerFrame.PONG) this.#events.onFacts(this, parseFacts(meta));
    else if (kind === PeerFrame.QUEUED) streams.sinkOf(stream)?.onQueued();
    else if (kind === PeerFrame.BEGIN) {
      if (streams.sinkOf(stream)?.onBegin() === true) channel.send(stream, PeerFrame.GO, false, "");
    } else if (stream > 0) streams.receiveOther(stream, kind, meta, body);
    else throw new ProtocolError(`type ${kind} from a gateway that was dialled`);
  }

  #lost(streams: CallStreams<PeerSink>, error: Error): void {
    this.#channel = undefined;
    this.#streams = undefined;
    // First who may still get something from there, then what was there: that goes elsewhere.
    this.#events.onClosed(this);
    for (const sink of streams.takeAll()) sink.onLost(this.peer.id);
    this.#failed(error);
  }

  #failed(error: Error): void {
    if (this.#stopped) return;
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") this.#events.onRefused(this);
    this.#events.onFailed(this, error);
    this.#redial = this.#clock.setTimer(this.#redialMs, () => this.start());
    this.#redialMs = Math.min(MAX_REDIAL_MS, this.#redialMs * 2);
  }
}
