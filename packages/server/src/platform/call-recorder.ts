import type { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { Call } from "../dispatch/call.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { Budgets } from "../security/budget/budgets.ts";
import type { CallTracer } from "../telemetry/call-tracer.ts";

/** Refused before it was admitted: shown under its code, no invocation. */
const REFUSALS: ReadonlySet<string> = new Set(["OVERLOADED", "RATE_LIMITED", "BUDGET_EXCEEDED", "DRAINING"]);

export interface CallRecorderOptions {
  clock: Clock;
  metrics: MetricsRegistry;
  tracer: CallTracer | undefined;
  budgets: Pick<Budgets, "settle">;
}

/** What is kept of a call that has ended: its counters, and its spans where somebody wants them. */
export class CallRecorder {
  readonly #clock: Clock;
  readonly #metrics: MetricsRegistry;
  readonly #tracer: CallTracer | undefined;
  readonly #budgets: Pick<Budgets, "settle">;

  constructor({ clock, metrics, tracer, budgets }: CallRecorderOptions) {
    this.#clock = clock;
    this.#metrics = metrics;
    this.#tracer = tracer;
    this.#budgets = budgets;
  }

  /** hot */
  record(entry: FunctionEntry, call: Call, error: KsError | undefined): void {
    if (call.trace !== undefined) this.#trace(entry, call, error);
    // Its counters are gone, and would begin anew.
    if (entry.gone) return;
    const counters = this.#metrics.counters(entry.stored.uid);
    const reached = call.slot !== undefined;
    if (error !== undefined && !reached && REFUSALS.has(error.code)) counters.recordRefusal(error.code);
    else counters.record(reached ? call.durationMs : -1, entry.memoryMiB, error?.code, this.#clock.nowMs());
    if (call.times.cold) counters.recordColdStart(coldStartOf(call));
    const { budget } = (entry.stored.served ?? entry.stored).spec;
    if (budget !== undefined) this.#budgets.settle(entry.stored.uid, budget, counters);
  }

  /** A call that another gateway ran, and counted. */
  recordForwarded(entry: FunctionEntry, call: Call, error: KsError | undefined): void {
    if (call.trace !== undefined) this.#trace(entry, call, error);
  }

  /** A call that never came to the function's queue. */
  refuse(entry: FunctionEntry, error: KsError): void {
    if (!entry.gone) this.#metrics.counters(entry.stored.uid).recordRefusal(error.code);
  }

  #trace(entry: FunctionEntry, call: Call, error: KsError | undefined): void {
    const { head, times, trace } = call;
    const endedAtMs = this.#clock.nowMs();
    const cold = coldStartOf(call);
    this.#tracer?.end(trace!, {
      functionName: entry.stored.spec.name,
      revision: times.revision,
      requestId: head.id,
      trigger: head.trigger,
      method: head.method,
      path: head.path,
      arrivedAtMs: endedAtMs - (this.#clock.monotonicMs() - times.arrivedAtMs),
      endedAtMs,
      queueMs: call.reached ? cold.queueMs + cold.startMs + cold.loadMs : undefined,
      cold: times.cold ? { startMs: cold.startMs, loadMs: cold.loadMs } : undefined,
      handlerMs: call.durationMs,
      status: call.status,
      errorCode: error?.code,
      ...(error === undefined ? {} : { errorMessage: error.message }),
    });
  }
}

/** The phases of a call's wait, one after the other: a call may be sent before its replica is ready. */
function coldStartOf({ times }: Call): { queueMs: number; startMs: number; loadMs: number } {
  const { arrivedAtMs, sentAtMs, startMs, loadMs } = times;
  return { queueMs: Math.max(0, sentAtMs - arrivedAtMs), startMs, loadMs };
}
