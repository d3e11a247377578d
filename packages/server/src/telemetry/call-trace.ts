import { randomBytes } from "node:crypto";
import { formatTraceparent, parseTraceparent, type TraceParent } from "./traceparent.ts";

/** The spans of one call, named before it begins, so that what the function calls is theirs. */
export interface CallTrace {
  traceId: string;
  /** Who called, where they said so. */
  parent: TraceParent | undefined;
  callSpanId: string;
  handlerSpanId: string;
  sampled: boolean;
  /** For the function: the handler's span is its parent. */
  traceparent: string;
}

/** Goes on with the caller's trace, whose choice to sample holds, or begins one. `random` gives that many random bytes. */
export function beginCallTrace(header: string | undefined, random: (bytes: number) => Buffer = randomBytes): CallTrace {
  const parent = parseTraceparent(header);
  // One draw for all identifiers: 8 bytes a span and 16 for a trace.
  const digits = random(parent === undefined ? 32 : 16).toString("hex");
  const callSpanId = digits.slice(0, 16);
  const handlerSpanId = digits.slice(16, 32);
  const traceId = parent?.traceId ?? digits.slice(32);
  const sampled = parent?.sampled ?? true;
  return {
    traceId,
    parent,
    callSpanId,
    handlerSpanId,
    sampled,
    traceparent: formatTraceparent({ traceId, spanId: handlerSpanId, sampled }),
  };
}
