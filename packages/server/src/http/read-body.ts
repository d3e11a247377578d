import type { IncomingMessage } from "node:http";
import { KsError } from "@kube-serverless/contracts";
import type { BodyHold } from "./body-budget.ts";

/** A body makes no progress for so long: 408. */
const IDLE_TIMEOUT_MS = 60_000;
/** Of a body that is refused, so much is read and thrown away, so that the answer arrives instead of a reset. */
const MAX_DISCARD_BYTES = 64 * 1024 * 1024;
const MAX_DISCARD_MS = 10_000;

export interface Body {
  chunks: Buffer[];
  bytes: number;
}

/** Requests with `Expect: 100-continue`, and how to tell them to go on once their body is wanted. */
export const awaitsContinue = new WeakMap<IncomingMessage, () => void>();

const NO_BODY: Body = { chunks: [], bytes: 0 };

/** hot: true when the head says that no body follows (RFC 9112, 6.3). */
export function hasNoBody(req: IncomingMessage): boolean {
  const length = req.headers["content-length"];
  return (length === undefined || length === "0") && req.headers["transfer-encoding"] === undefined;
}

/** hot: `receiveBody` as a promise. @throws KsError */
export function readBody(req: IncomingMessage, limitBytes: number, hold: BodyHold): Promise<Body> {
  return new Promise((resolve, reject) => receiveBody(req, limitBytes, hold, resolve, reject));
}

/**
 * hot: collects a body. It fails with `BODY_TOO_LARGE` at once when the head says so or as soon as it is passed, `OVERLOADED` when it
 * does not fit beside the others, `REQUEST_TIMEOUT`, `CLIENT_CLOSED` when the caller goes away.
 */
export function receiveBody(
  req: IncomingMessage,
  limitBytes: number,
  hold: BodyHold,
  onBody: (body: Body) => void,
  onFailed: (error: KsError) => void,
): void {
  if (hasNoBody(req)) return onBody(NO_BODY);
  const announced = Number(req.headers["content-length"] ?? 0);
  if (announced > limitBytes) return onFailed(tooLarge(limitBytes, announced));
  const refusal = refusalOf(hold, announced);
  if (refusal !== undefined) return onFailed(refusal);
  awaitsContinue.get(req)?.();
  const chunks: Buffer[] = [];
  let bytes = 0;
  let isSettled = false;
  let timer: NodeJS.Timeout | undefined;
  const settle = (error?: KsError): void => {
    if (isSettled) return;
    isSettled = true;
    clearTimeout(timer);
    if (error === undefined) onBody({ chunks, bytes });
    else onFailed(error);
  };
  req.on("data", (chunk: Buffer) => {
    if (isSettled) return;
    bytes += chunk.length;
    if (bytes > limitBytes) return settle(tooLarge(limitBytes, undefined));
    const overload = bytes > announced ? refusalOf(hold, chunk.length) : undefined;
    if (overload !== undefined) return settle(overload);
    chunks.push(chunk);
    timer?.refresh();
  });
  req.on("end", () => settle());
  // Most bodies come with their head, but the parser lets ticks run between the two: behind this turn nothing is left to wait for
  // then, and nothing that could fail.
  setImmediate(() => {
    if (isSettled || req.complete) return;
    const leave = (): void => {
      if (!isSettled) settle(new KsError("CLIENT_CLOSED"));
    };
    if (req.destroyed) return leave();
    req.on("close", leave);
    timer = setTimeout(
      () => settle(new KsError("REQUEST_TIMEOUT", { message: "The request body made no progress for 60 s" })),
      IDLE_TIMEOUT_MS,
    );
  });
}

/** Why the budget has no room for a piece that was not announced. */
function refusalOf(hold: BodyHold, bytes: number): KsError | undefined {
  try {
    hold.take(bytes);
    return undefined;
  } catch (error) {
    return error as KsError;
  }
}

function tooLarge(limitBytes: number, bytes: number | undefined): KsError {
  const size = bytes === undefined ? "" : `, it has ${bytes} bytes`;
  return new KsError("BODY_TOO_LARGE", {
    message: `Request body too large: the limit is ${limitBytes} bytes${size}`,
    details: { limitBytes, ...(bytes === undefined ? {} : { bytes }) },
  });
}

/**
 * Reads what is left of a request that was answered early and throws it away; the connection then serves the next request. Beyond
 * the bounds it is closed. A client that is still writing would see a reset instead of the answer if it were closed at once.
 */
export function discardRest(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return;
  const { socket } = req;
  let bytes = 0;
  const timer = setTimeout(() => socket.destroy(), MAX_DISCARD_MS);
  const forget = (): void => {
    clearTimeout(timer);
    socket.off("close", forget);
  };
  req.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_DISCARD_BYTES) socket.destroy();
  });
  req.once("end", forget);
  // Once it is answered, a request is not told that its connection closed.
  socket.once("close", forget);
  req.resume();
}
