import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { Call, CallEntrance } from "../dispatch/call.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import { Forward, type ForwardKeeper, namesAnother } from "./forward.ts";
import type { PeerLink } from "./link.ts";
import type { Ownership } from "./ownership.ts";
import { hashText } from "./rendezvous.ts";
import { GivenBackError, sayNoOwner } from "./remote-errors.ts";

/** So often an owner is asked for a function that it does not know: it may have been made a moment ago. */
const MAX_UNKNOWN = 4;
/** A call waits so long for an owner that can be reached: longer than it takes to leave a lost one out. */
const PARK_LIMIT_MS = 10_000;
const MAX_PARKED = 10_000;
/** Calls that follow each other closely wake their function once. */
const WARM_AGAIN_MS = 1000;

export interface ForwarderOptions {
  clock: Clock;
  selfId: string;
  ownership: Ownership;
  /** The connection to a gateway; undefined while nothing new should go there. */
  linkTo(id: string): PeerLink | undefined;
  /** A call that another gateway ran has ended here; metrics are counted where it ran. */
  onForwardEnded(uid: string, call: Call, error: KsError | undefined): void;
}

/** What a function has in memory, whoever owns it. */
export interface LocalFunction {
  dispatcher(): Dispatcher;
}

/** Sends calls to the gateways that own their functions, and once more elsewhere where they had not begun. */
export class Forwarder implements ForwardKeeper {
  readonly #options: ForwarderOptions;
  /** Calls whose owner cannot be reached now. */
  readonly #parked = new Set<Forward>();
  /** Calls that wait for a place over there, by what may be moved elsewhere. */
  readonly #waiting = new Set<Forward>();

  constructor(options: ForwarderOptions) {
    this.#options = options;
    options.ownership.onChanged(() => this.#followOwners());
  }

  /** Calls of this gateway's callers that others run or are to run. */
  underWay = 0;

  /** Where the gateway hands in calls of a function. */
  entrance(uid: string, local: LocalFunction): CallEntrance {
    return new FunctionEntrance(uid, local, this, this.#options);
  }

  /** hot */
  send(forward: Forward, owner: string): void {
    const link = this.#options.linkTo(owner);
    if (link === undefined || !forward.sendTo(link)) this.#park(forward);
  }

  returned(forward: Forward, cause: KsError, asked: string | undefined): void {
    const { call } = forward;
    if (call.ended) return;
    if (isUnknown(cause) && ++call.returns > MAX_UNKNOWN) return call.onError(new KsError("FUNCTION_NOT_FOUND"));
    if (forward.target === undefined && namesAnother(cause, asked)) {
      forward.target = cause.why.owner;
      this.#resubmit(forward);
    } else {
      // Whoever gave it back without naming another is asked again a moment later.
      this.#park(forward);
    }
  }

  noteWaiting(forward: Forward, waits: boolean): void {
    if (waits) this.#waiting.add(forward);
    else this.#waiting.delete(forward);
  }

  unpark(forward: Forward): void {
    this.#parked.delete(forward);
  }

  /** Tries again what waits for its owner; to be called when one can be reached, and from time to time. */
  retry(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const forward of [...this.#parked]) {
      this.#parked.delete(forward);
      if (nowMs - forward.parkedAtMs > PARK_LIMIT_MS) forward.call.onError(sayNoOwner());
      else this.#resubmit(forward);
    }
  }

  end(uid: string, call: Call, error: KsError | undefined): void {
    if (call.ended) return;
    call.end();
    this.underWay--;
    this.#options.onForwardEnded(uid, call, error);
  }

  #resubmit(forward: Forward): void {
    const { call } = forward;
    if (!call.ended) (call.keeper as FunctionEntrance).route(forward);
  }

  #park(forward: Forward): void {
    // Who was named by another may be the very one that cannot be reached: then this gateway's own view counts.
    forward.target = undefined;
    if (this.#parked.size >= MAX_PARKED) return forward.call.onError(sayNoOwner());
    if (forward.parkedAtMs === 0) forward.parkedAtMs = this.#options.clock.monotonicMs();
    this.#parked.add(forward);
  }

  /** What has not begun goes where it belongs now. */
  #followOwners(): void {
    for (const forward of [...this.#waiting]) {
      if (forward.link?.peer.id === this.#options.ownership.ownerOf(forward.uid)) continue;
      forward.recall();
      forward.target = undefined;
      this.#resubmit(forward);
    }
    this.retry();
  }
}

function isUnknown(cause: KsError): boolean {
  return cause instanceof GivenBackError && cause.why.reason === "unknown";
}

/** Where calls of one function are handed in: to its own dispatcher where this gateway owns it, else to the owner's. */
class FunctionEntrance implements CallEntrance {
  readonly #uid: string;
  readonly #hash: number;
  readonly #local: LocalFunction;
  readonly #forwarder: Forwarder;
  readonly #options: ForwarderOptions;
  #warmedAtMs = Number.NEGATIVE_INFINITY;

  constructor(uid: string, local: LocalFunction, forwarder: Forwarder, options: ForwarderOptions) {
    this.#uid = uid;
    this.#hash = hashText(uid);
    this.#local = local;
    this.#forwarder = forwarder;
    this.#options = options;
  }

  warm(): void {
    const owner = this.#owner();
    if (owner === this.#options.selfId) return this.#local.dispatcher().warm();
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#warmedAtMs < WARM_AGAIN_MS) return;
    this.#warmedAtMs = nowMs;
    this.#options.linkTo(owner)?.warm(this.#uid);
  }

  /** hot */
  submit(call: Call): void {
    if (this.#owner() === this.#options.selfId) return this.#keep(call);
    call.keeper = this;
    const forward = new Forward(this.#uid, call, this.#forwarder);
    call.handle = forward;
    this.#forwarder.underWay++;
    this.route(forward);
  }

  /** Sends a call to whoever is to get it now, which may be this gateway. */
  route(forward: Forward): void {
    const target = forward.target ?? this.#owner();
    if (target === this.#options.selfId) {
      this.#forwarder.underWay--;
      this.#keep(forward.call);
    } else this.#forwarder.send(forward, target);
  }

  noteHead(): void {
    // The owner has said how it was.
  }

  callEnded(call: Call, error: KsError | undefined): void {
    this.#forwarder.end(this.#uid, call, call.refusal ?? error);
  }

  callReturned(call: Call, cause: KsError): void {
    call.onError(cause);
  }

  abandon(call: Call): void {
    if (call.ended || call.abandoned) return;
    call.abandoned = true;
    call.handle?.cancel();
    this.#forwarder.end(this.#uid, call, call.refusal ?? new KsError("CLIENT_CLOSED"));
  }

  #keep(call: Call): void {
    const dispatcher = this.#local.dispatcher();
    call.keeper = dispatcher;
    call.handle = undefined;
    dispatcher.submit(call);
  }

  #owner(): string {
    return this.#options.ownership.ownerOfHash(this.#hash);
  }
}
