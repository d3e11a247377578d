import { KsError } from "@kube-serverless/contracts";
import type { Call } from "../dispatch/call.ts";
import type { CallHandle, ResponseHead } from "../instances/port.ts";
import type { RunningCall } from "../instances/running-call.ts";
import type { PeerLink, PeerSink } from "./link.ts";
import { GivenBackError, RemoteFailure, type RemoteTimes, sayOwnerLost } from "./remote-errors.ts";
import { encodeCall, encodeError, type RemoteHead } from "./wire.ts";

/** Leads a call that is under way to another gateway. */
export interface ForwardKeeper {
  /** It has not begun: it goes to whoever is asked next, `asked` is who gave it back. */
  returned(forward: Forward, cause: KsError, asked: string | undefined): void;
  /** It waits over there (true), or does so no more. */
  noteWaiting(forward: Forward, waits: boolean): void;
  /** Its caller is gone before it was sent. */
  unpark(forward: Forward): void;
}

/** One call that another gateway is to run. */
export class Forward implements PeerSink, CallHandle {
  readonly uid: string;
  readonly call: Call;
  readonly #keeper: ForwardKeeper;
  /** Who it was sent to; undefined while it waits to be sent. */
  link: PeerLink | undefined;
  /** Who is to get it, whatever this gateway's own view says; undefined: the owner. */
  target: string | undefined;
  /** Since when it waits to be sent, on the monotonic clock. */
  parkedAtMs = 0;
  #running: RunningCall<PeerSink> | undefined;
  /** Over there it waits for a place, and asks before it begins. */
  #waits = false;

  constructor(uid: string, call: Call, keeper: ForwardKeeper) {
    this.uid = uid;
    this.call = call;
    this.#keeper = keeper;
  }

  /** hot: sends it; false when the connection has gone meanwhile. */
  sendTo(link: PeerLink): boolean {
    this.link = link;
    this.#running = link.open(encodeCall(this.uid, this.target !== undefined, this.call.head), this.call.body, this);
    return this.#running !== undefined;
  }

  /** Takes it back before it has begun. */
  recall(): void {
    if (this.#running !== undefined) this.link?.giveUp(this.#running.stream);
    this.#reset();
  }

  // What the caller asks for

  cancel(): void {
    const { refusal } = this.call;
    if (this.#running === undefined) this.#keeper.unpark(this);
    else this.link?.giveUp(this.#running.stream, refusal === undefined ? "" : encodeError(refusal));
    this.#reset();
  }

  credit(bytes: number): void {
    this.#running?.credit(bytes);
  }

  // What comes from there

  /** hot */
  onHead(head: ResponseHead, piece: Buffer, more: boolean): void {
    this.#note((head as RemoteHead).times);
    this.call.reachedElsewhere = true;
    this.call.onHead(head, piece, more);
  }

  /** hot */
  onData(piece: Buffer, more: boolean): void {
    this.call.onData(piece, more);
  }

  onError(error: KsError): void {
    this.#stopWaiting();
    if (error instanceof RemoteFailure) {
      this.#note(error.times);
      this.call.reachedElsewhere = error.reached;
    }
    this.call.onError(error);
  }

  onStalled(): void {
    this.call.onStalled();
  }

  onNotStarted(cause: KsError): void {
    const asked = this.link?.peer.id;
    this.#reset();
    this.#keeper.returned(this, cause, asked);
  }

  onQueued(): void {
    this.#waits = true;
    this.#keeper.noteWaiting(this, true);
  }

  onBegin(): boolean {
    this.#stopWaiting();
    return true;
  }

  onLost(peer: string): void {
    const waited = this.#waits;
    this.#reset();
    if (waited) return this.#keeper.returned(this, sayOwnerLost(peer), peer);
    this.call.reachedElsewhere = true;
    this.call.onError(sayOwnerLost(peer));
  }

  #note({ cold, startMs, loadMs, compileMs, revision, queueMs }: RemoteTimes): void {
    const { times } = this.call;
    times.cold = cold;
    times.startMs = startMs;
    times.loadMs = loadMs;
    times.compileMs = compileMs;
    times.revision = revision;
    times.sentAtMs = times.arrivedAtMs + queueMs;
  }

  #stopWaiting(): void {
    if (!this.#waits) return;
    this.#waits = false;
    this.#keeper.noteWaiting(this, false);
  }

  #reset(): void {
    this.#stopWaiting();
    this.#running = undefined;
    this.link = undefined;
  }
}

/** True when whoever was asked names another one, which can be asked at once. */
export function namesAnother(cause: KsError, asked: string | undefined): cause is GivenBackError & { why: { owner: string } } {
  return cause instanceof GivenBackError && cause.why.owner !== undefined && cause.why.owner !== asked;
}
