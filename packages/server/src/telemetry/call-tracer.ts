import { randomBytes } from "node:crypto";
import { buildCallSpans, type CallFacts, type SpanRecord } from "./call-spans.ts";
import { beginCallTrace, type CallTrace } from "./call-trace.ts";

/** Sends spans somewhere; never blocks, and throws away what is too much. */
export interface SpanSink {
  add(spans: readonly SpanRecord[]): void;
  stop(options: { deadlineMs: number }): Promise<void>;
}

/** Traces calls; without one, the caller's `traceparent` is passed on as it is. */
export class CallTracer {
  readonly #sink: SpanSink;

  constructor(sink: SpanSink) {
    this.#sink = sink;
  }

  /** Before the call is sent: its `traceparent` goes to the function. */
  begin(header: string | undefined): CallTrace {
    return beginCallTrace(header);
  }

  /** When the call has ended, once. */
  end(trace: CallTrace, facts: CallFacts): void {
    if (trace.sampled) this.#sink.add(buildCallSpans(trace, facts, () => randomBytes(8).toString("hex")));
  }

  /** Sends what is left. */
  stop(options: { deadlineMs: number }): Promise<void> {
    return this.#sink.stop(options);
  }
}
