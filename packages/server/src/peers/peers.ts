import type { KsError } from "@kube-serverless/contracts";
import type { Clock, Timer } from "../clock.ts";
import type { Call, CallEntrance } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { Forwarder, type LocalFunction } from "./forwarder.ts";
import type { PeerIdentity, PeerKeys } from "./handshake.ts";
import { CallServant } from "./inbound-call.ts";
import type { InboundService } from "./inbound-connection.ts";
import type { InboundStream, StreamServant } from "./inbound-stream.ts";
import { PeerLink } from "./link.ts";
import { PeerListener } from "./listener.ts";
import { type GatewayState, Membership, PING_INTERVAL_MS, type View } from "./membership.ts";
import { Ownership } from "./ownership.ts";
import { type RequestHandler, RequestHandlers, type RequestOptions, sendRequest, type StreamHandler } from "./requests.ts";
import { encodeFacts, encodeGivenBack, parseCall, PassedHead, type PeerFacts, PeerFrame, readForwardedCall } from "./wire.ts";

/** What stays open to a gateway that says nothing: calls within it may still be answered. Then they fail. */
const CUT_AFTER_MS = 5000;
/** A gateway that starts knows within this time who else is there. */
const FIRST_LOOK_MS = 2000;
/** A gateway that drains waits so long for the others to see it. */
const DRAIN_SEEN_MS = 1500;
const NOTHING_REQUEST = "nothing";

export interface PeersLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface PeersOptions {
  /** This gateway: its pod's name, and where the others reach it. */
  self: PeerIdentity;
  clock: Clock;
  /** The signing key of all gateways, as it is now. */
  keys(): PeerKeys;
  log: PeersLog;
  /** The dispatcher of a function that this gateway has in memory. */
  dispatcherOf(uid: string): Dispatcher | undefined;
  /** Told with every ping, such as load and shares of limits. */
  extraFacts?(): Record<string, unknown>;
  /** A call that another gateway ran has ended for its caller here. */
  onForwardEnded?(uid: string, call: Call, error: KsError | undefined): void;
}

/** The gateways of a cluster: who is there, who owns which function, and how calls and questions get to them. */
export class Peers implements InboundService {
  readonly handlers = new RequestHandlers();
  readonly #options: PeersOptions;
  readonly #clock: Clock;
  readonly #membership: Membership;
  readonly #ownership: Ownership;
  readonly #forwarder: Forwarder;
  readonly #listener: PeerListener;
  readonly #links = new Map<string, PeerLink>();
  /** What each said last, by name. */
  readonly #facts = new Map<string, PeerFacts>();
  /** Links of which nothing has come yet, neither a proof nor a failure. */
  readonly #untried = new Set<string>();
  readonly #watchers = new Set<() => void>();
  /** Candidates that nobody told of, but that have proven themselves. */
  readonly #introduced = new Set<string>();
  #tick: Timer | undefined;
  #stopped = false;

  constructor(options: PeersOptions) {
    const { self, clock, keys, log, onForwardEnded } = options;
    this.#options = options;
    this.#clock = clock;
    this.#membership = new Membership(self.id, clock.monotonicMs());
    this.#ownership = new Ownership(self.id);
    this.#forwarder = new Forwarder({
      clock,
      selfId: self.id,
      ownership: this.#ownership,
      linkTo: (id) => this.#trustedLink(id),
      onForwardEnded: (uid, call, error) => {
        onForwardEnded?.(uid, call, error);
        if (this.#watchers.size > 0) this.#changed();
      },
    });
    this.#listener = new PeerListener({
      self,
      clock,
      keys,
      service: this,
      onRefused: (address, error) => log.warn({ address, err: error }, "a connection to the gateways' port was refused"),
    });
    this.handle(NOTHING_REQUEST, () => null);
    this.#ownership.onChanged(({ epoch, members }) => log.info({ epoch, members }, "the gateways that are ready have changed"));
  }

  // Who is there

  get selfId(): string {
    return this.#options.self.id;
  }

  get view(): View {
    return this.#ownership.view;
  }

  /** What a gateway said of itself last. */
  factsOf(id: string): PeerFacts | undefined {
    return this.#facts.get(id);
  }

  /** Listens, and resolves when each candidate has answered or is known not to. */
  async start(candidates: readonly PeerIdentity[]): Promise<void> {
    await this.#listener.start();
    this.setCandidates(candidates);
    this.#beat();
    await this.#until(() => this.#untried.size === 0, FIRST_LOOK_MS);
  }

  /** Who may be there: the pods of the server, this one among them or not. */
  setCandidates(candidates: readonly PeerIdentity[]): void {
    const wanted = new Map(candidates.map((candidate) => [candidate.id, candidate]));
    wanted.delete(this.#options.self.id);
    for (const [id, { peer }] of this.#links) {
      const candidate = wanted.get(id);
      if (candidate === undefined ? !this.#introduced.has(id) : candidate.address !== peer.address) this.#unlink(id);
    }
    for (const candidate of wanted.values()) {
      this.#introduced.delete(candidate.id);
      if (!this.#links.has(candidate.id)) this.#link(candidate);
    }
    this.#look();
  }

  /** `ready` once the functions are loaded. Told to all at once. */
  setState(state: GatewayState): void {
    this.#membership.setSelfState(state);
    this.#look();
    this.#tell();
  }

  /** Leaves the ready ones, and resolves when every other gateway has seen that, or after a moment. */
  async drain(): Promise<void> {
    this.setState("draining");
    // An answer to what was asked behind the announcement says that it was heard.
    const signal = AbortSignal.timeout(DRAIN_SEEN_MS);
    await Promise.allSettled(this.connected.map((id) => this.request(id, NOTHING_REQUEST, null, { signal })));
  }

  /** Resolves when no call of this gateway's callers is under way elsewhere, or at the deadline. */
  settle(deadlineMs: number): Promise<void> {
    return this.#until(() => this.#forwarder.underWay === 0, deadlineMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tick?.cancel();
    for (const link of this.#links.values()) link.stop();
    await this.#listener.stop();
  }

  // Who owns what

  /** The gateway that owns a function, in this one's view. */
  ownerOf(uid: string): string {
    return this.#ownership.ownerOf(uid);
  }

  isOwner(uid: string): boolean {
    return this.#ownership.isOwner(uid);
  }

  /** Who will own the function when this gateway is gone; undefined when nobody else is ready. */
  successorOf(uid: string): string | undefined {
    return this.#ownership.successorOf(uid);
  }

  /** Told when functions may have got another owner. Returns what ends it. */
  onOwnersChanged(listener: (view: View) => void): () => void {
    return this.#ownership.onChanged(listener);
  }

  /** Where calls of a function are handed in, whoever owns it. */
  entrance(uid: string, local: LocalFunction): CallEntrance {
    return this.#forwarder.entrance(uid, local);
  }

  // Requests

  handle(name: string, handler: RequestHandler): void {
    this.handlers.handle(name, handler);
  }

  handleStream(name: string, handler: StreamHandler): void {
    this.handlers.handleStream(name, handler);
  }

  /** Asks another gateway for one value. @throws KsError */
  async request(id: string, name: string, params: unknown, options?: RequestOptions): Promise<unknown> {
    let answer: unknown;
    await sendRequest(this.#links.get(id), name, params, (item) => (answer = item), options);
    return answer;
  }

  /** Asks another gateway for any number of items. Resolves at their end. @throws KsError */
  async stream(id: string, name: string, params: unknown, onItem: (item: unknown) => void, options?: RequestOptions): Promise<void> {
    await sendRequest(this.#links.get(id), name, params, onItem, options);
  }

  /** Every other gateway that is connected, ready or not. */
  get connected(): string[] {
    return [...this.#links].filter(([, link]) => link.isOpen).map(([id]) => id);
  }

  // What others want of this one

  /** hot @throws ProtocolError */
  accept(meta: Buffer, stream: InboundStream, from: PeerIdentity): StreamServant | undefined {
    const { fields, head } = parseCall(meta);
    const { request } = fields;
    if (typeof request === "string") return this.handlers.servant(request, from.id, stream);
    const call = readForwardedCall(fields);
    const owner = call.last ? this.#options.self.id : this.ownerOf(call.uid);
    if (owner !== this.#options.self.id) {
      stream.fail(PeerFrame.BUSY, encodeGivenBack({ reason: "not-owner", owner }));
      return undefined;
    }
    const dispatcher = this.#options.dispatcherOf(call.uid);
    if (dispatcher !== undefined) return new CallServant(new PassedHead(call, head), stream, dispatcher, this.#clock);
    stream.fail(PeerFrame.BUSY, encodeGivenBack({ reason: "unknown", owner: undefined }));
    return undefined;
  }

  warm(uid: string): void {
    if (this.isOwner(uid)) this.#options.dispatcherOf(uid)?.warm();
  }

  facts(): string {
    return encodeFacts({ state: this.#membership.selfState, extra: this.#options.extraFacts?.() ?? {} });
  }

  onFacts(from: PeerIdentity, facts: PeerFacts): void {
    // Whoever has proven itself is dialled, too, though nobody has told of it yet.
    if (!this.#links.has(from.id) && !this.#stopped) {
      this.#introduced.add(from.id);
      this.#link(from);
    }
    // That it drains counts from wherever it comes; that it is ready and reachable, only over the way that calls would take.
    if (facts.state !== "draining") return;
    this.#membership.noteDraining(from.id);
    this.#look();
  }

  #link(peer: PeerIdentity): void {
    const { self, keys, log } = this.#options;
    const link = new PeerLink(self, peer, this.#clock, keys, {
      onOpen: () => this.#opened(link),
      onFacts: (_link, facts) => this.#heardFacts(link, facts),
      onHeard: () => this.#membership.noteHeard(peer.id, this.#clock.monotonicMs()),
      onRefused: () => {
        this.#membership.noteGone(peer.id);
        this.#look();
      },
      onClosed: () => this.#look(),
      onFailed: (_link, error) => {
        log.info({ gateway: peer.id, address: peer.address, err: error }, "no connection to a gateway");
        this.#untried.delete(peer.id);
        this.#changed();
      },
    });
    this.#links.set(peer.id, link);
    this.#untried.add(peer.id);
    link.start();
  }

  #unlink(id: string): void {
    this.#links.get(id)?.stop();
    this.#links.delete(id);
    this.#facts.delete(id);
    this.#untried.delete(id);
    this.#introduced.delete(id);
    this.#membership.forget(id);
  }

  #opened(link: PeerLink): void {
    link.ping(this.facts());
  }

  #heardFacts(link: PeerLink, facts: PeerFacts): void {
    const { id } = link.peer;
    this.#facts.set(id, facts);
    this.#untried.delete(id);
    const wasDoubted = !this.#membership.isTrusted(id, this.#clock.monotonicMs());
    this.#membership.noteState(id, facts.state, this.#clock.monotonicMs());
    this.#look();
    if (wasDoubted) this.#forwarder.retry();
    this.#changed();
  }

  /** hot: the connection to a gateway that is there; undefined while it may not be. */
  #trustedLink(id: string): PeerLink | undefined {
    const link = this.#links.get(id);
    return link?.isOpen === true && this.#membership.isTrusted(id, this.#clock.monotonicMs()) ? link : undefined;
  }

  #look(): void {
    this.#ownership.follow(this.#membership.look(this.#clock.monotonicMs()));
  }

  /** Tells everybody how this gateway is. */
  #tell(): void {
    const facts = this.facts();
    for (const link of this.#links.values()) link.ping(facts);
    this.#listener.announce();
  }

  #beat(): void {
    this.#tick = this.#clock.setTimer(PING_INTERVAL_MS, () => {
      const nowMs = this.#clock.monotonicMs();
      this.#look();
      const facts = this.facts();
      for (const [id, link] of this.#links) {
        link.ping(facts);
        if (!link.isOpen || this.#membership.silentForMs(id, nowMs) < CUT_AFTER_MS) continue;
        link.cut(new Error(`nothing came from it for ${CUT_AFTER_MS} ms`));
      }
      for (const id of this.#introduced) if (!this.#membership.isHeard(id, nowMs) && !this.#untried.has(id)) this.#unlink(id);
      this.#forwarder.retry();
      this.#changed();
      if (!this.#stopped) this.#beat();
    });
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  async #until(isTrue: () => boolean, limitMs: number): Promise<void> {
    if (isTrue()) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#watchers.delete(watcher);
        resolve();
      };
      const watcher = (): void => {
        if (isTrue()) done();
      };
      const timer = this.#clock.setTimer(limitMs, done);
      this.#watchers.add(watcher);
    });
  }
}

export function createPeers(options: PeersOptions): Peers {
  return new Peers(options);
}
