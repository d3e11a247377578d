import { KsError } from "@kube-serverless/contracts";
import { MAX_META_BYTES, type ProtocolError } from "../protocol/frames.ts";

/** Headers and query within HTTP's bound may still be more than a frame carries: JSON makes them longer. */
export function sayHeadTooLarge(bytes: number): KsError {
  const message = `Request headers too large: path, query and headers take ${bytes} bytes as JSON, ${MAX_META_BYTES} are allowed`;
  return new KsError("HEADERS_TOO_LARGE", { message, details: { limitBytes: MAX_META_BYTES, bytes } });
}

/** Loading the code took too long. */
export function sayLoadTimedOut(loadTimeoutMs: number): KsError {
  const message = `LoadTimeout: the code did not finish loading within ${loadTimeoutMs / 1000} s`;
  return new KsError("FUNCTION_FAILED", { message, details: { reason: "LoadTimeout", message } });
}

/** The handler, or a pause of its stream, took too long. */
export function sayTimedOut(timeoutMs: number, hasHead: boolean): KsError {
  const timeoutSeconds = timeoutMs / 1000;
  const what = hasHead ? "paused its stream for longer than" : "did not answer within";
  return new KsError("TIMEOUT", { message: `The function ${what} its timeout of ${timeoutSeconds} s`, details: { timeoutSeconds } });
}

/** Told to all calls within, whichever of them it is that lets nothing else run. */
export function sayHeld(): KsError {
  const message =
    "The replica was stopped: a call held the event loop of this replica beyond its timeout, so that no call in it could go on";
  return new KsError("FUNCTION_CRASHED", { message, details: { reason: "EventLoopHeld" } });
}

/** The time to drain was over. */
export function sayDrained(): KsError {
  return new KsError("DRAINING", { message: "The replica had to stop before the call ended", details: { phase: "running" } });
}

/** The pod went before the code was loaded. */
export function sayPodLost(cause: KsError): KsError {
  const message = "PodLost: the function's pod was lost before its code was loaded";
  return new KsError("FUNCTION_CRASHED", { message, details: { reason: "PodLost", message }, cause });
}

/** A frame broke the protocol. */
export function sayBroken(cause: ProtocolError): KsError {
  const message = `The function broke the connection to the platform (${cause.message})`;
  return new KsError("FUNCTION_CRASHED", { message, details: { reason: "ProtocolError" }, cause });
}

/** The process goes on, but nobody can talk to it. */
export function sayDisconnected(): KsError {
  return new KsError("FUNCTION_CRASHED", { message: "The function closed its connection to the platform" });
}
