import { type ErrorCode, KsError, type KsErrorOptions } from "@kube-serverless/contracts";
import type { CallTimes } from "../dispatch/call.ts";

/** How the owner spent a call's time. */
export type RemoteTimes = Pick<CallTimes, "cold" | "startMs" | "loadMs" | "compileMs" | "revision"> & { queueMs: number };

/** An error that another gateway answered, with what became of the call there. */
export class RemoteFailure extends KsError {
  /** A replica was given the call. */
  readonly reached: boolean;
  readonly times: RemoteTimes;

  constructor(code: ErrorCode, options: KsErrorOptions, reached: boolean, times: RemoteTimes) {
    super(code, options);
    this.reached = reached;
    this.times = times;
  }
}

/** Why a call goes back: another one owns the function, or it is not known there yet. */
export interface GivenBack {
  reason: "not-owner" | "unknown";
  owner: string | undefined;
}

/** Another gateway did not take a call: it has not begun. */
export class GivenBackError extends KsError {
  readonly why: GivenBack;

  constructor(why: GivenBack) {
    super("NO_CAPACITY", { message: `No capacity: the gateway that was asked gave the call back (${why.reason})`, retryAfterMs: 1000 });
    this.why = why;
  }
}

/** The gateway that ran the call is gone. */
export function sayOwnerLost(peer: string): KsError {
  const message = `The gateway that ran this call (${peer}) was lost before its answer came; whether the handler has ended nobody knows`;
  return new KsError("FUNCTION_CRASHED", { message, details: { reason: "GatewayLost", gateway: peer } });
}

/** Nobody who owns the function could be reached. */
export function sayNoOwner(): KsError {
  const message = "No capacity: the gateway that owns this function could not be reached in time";
  return new KsError("NO_CAPACITY", { message, retryAfterMs: 1000, details: { reason: "OwnerUnreachable" } });
}
