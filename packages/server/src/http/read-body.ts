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

/**
 * Collects a body. @throws KsError `BODY_TOO_LARGE` at once when the head says so or as soon as it is passed, `OVERLOADED` when it does
 * not fit beside the others, `REQUEST_TIMEOUT`, `CLIENT_CLOSED` when the caller goes away.
 */
export async function readBody(req: IncomingMessage, limitBytes: number, hold: BodyHold): Promise<Body> {
  if (hasNoBody(req)) return NO_BODY;
  const announced = Number(req.headers["content-length"] ?? 0);
  if (announced > limitBytes) throw tooLarge(limitBytes, announced);
  hold.take(announced);
  awaitsContinue.get(req)?.();
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (error?: KsError): void => {
      clearTimeout(timer);
      req.off("data", onData).off("end", onEnd).off("close", onClose);
      if (error === undefined) resolve({ chunks, bytes });
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > limitBytes) return settle(tooLarge(limitBytes, undefined));
      const refusal = bytes > announced ? refusalOf(hold, chunk.length) : undefined;
      if (refusal !== undefined) return settle(refusal);
      chunks.push(chunk);
      timer.refresh();
    };
    const onEnd = (): void => settle();
    const onClose = (): void => settle(new KsError("CLIENT_CLOSED"));
    const timer = setTimeout(
      () => settle(new KsError("REQUEST_TIMEOUT", { message: "The request body made no progress for 60 s" })),
      IDLE_TIMEOUT_MS,
    );
    req.on("data", onData).on("end", onEnd).on("close", onClose);
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
