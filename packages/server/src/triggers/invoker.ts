import { randomUUID } from "node:crypto";
import { type ErrorCode, KsError, type TriggerInfo } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import { Call, type CallReceiver } from "../dispatch/call.ts";
import type { CallTracer } from "../telemetry/call-tracer.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";

/** A call that no HTTP caller waits for. */
export interface TriggerInvocation {
  /** @default a new one */
  requestId?: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer;
  trigger: TriggerInfo;
  signal?: AbortSignal;
}

export interface TriggerInvokerOptions {
  clock: Clock;
  registry: FunctionRegistry;
  tracer: CallTracer | undefined;
  /** @throws KsError `BUDGET_EXCEEDED` */
  checkBudget(entry: FunctionEntry): void;
}

export type TriggerResult = { ok: true } | { ok: false; code: ErrorCode; reason: string; reachedHandler: boolean };

/** Calls functions for cron and queues: any response is a success, its body is read and dropped. */
export class TriggerInvoker {
  readonly #clock: Clock;
  readonly #registry: FunctionRegistry;
  readonly #tracer: CallTracer | undefined;
  readonly #checkBudget: (entry: FunctionEntry) => void;

  constructor({ clock, registry, tracer, checkBudget }: TriggerInvokerOptions) {
    this.#clock = clock;
    this.#registry = registry;
    this.#tracer = tracer;
    this.#checkBudget = checkBudget;
  }

  invoke(uid: string, invocation: TriggerInvocation): Promise<TriggerResult> {
    const entry = this.#registry.byUid(uid);
    if (entry === undefined) return Promise.resolve(refused(new KsError("FUNCTION_NOT_FOUND"), false));
    try {
      this.#checkBudget(entry);
    } catch (error) {
      return Promise.resolve(refused(error as KsError, false));
    }
    return new Promise((resolve) => {
      const trace = this.#tracer?.begin(invocation.headers["traceparent"]);
      const head = {
        id: invocation.requestId ?? randomUUID(),
        method: "POST",
        path: invocation.path,
        query: {},
        headers: invocation.headers,
        trigger: invocation.trigger,
        timeoutMs: entry.timeoutMs,
        ...(trace === undefined ? undefined : { traceparent: trace.traceparent }),
      };
      const { body, signal } = invocation;
      if (signal?.aborted === true) return resolve(refused(new KsError("CLIENT_CLOSED"), false));
      const settle = (result: TriggerResult): void => {
        signal?.removeEventListener("abort", leave);
        resolve(result);
      };
      const chunks = body.length === 0 ? [] : [body];
      const entrance = entry.entrance();
      const call = new Call(entrance, head, chunks, body.length, new Collector(settle), this.#clock.monotonicMs());
      call.trace = trace;
      const leave = (): void => {
        call.abandon();
        settle(refused(new KsError("CLIENT_CLOSED"), call.reached));
      };
      signal?.addEventListener("abort", leave, { once: true });
      entrance.submit(call);
    });
  }
}

class Collector implements CallReceiver {
  readonly #resolve: (result: TriggerResult) => void;

  constructor(resolve: (result: TriggerResult) => void) {
    this.#resolve = resolve;
  }

  onHead(_call: Call, _head: unknown, _piece: Buffer, more: boolean): void {
    if (!more) this.#resolve({ ok: true });
  }

  onData(call: Call, piece: Buffer, more: boolean): void {
    if (more) call.handle?.credit(piece.length);
    else this.#resolve({ ok: true });
  }

  onFailed(call: Call, error: KsError): void {
    this.#resolve(refused(error, call.reached && error.code !== "INVALID_REQUEST"));
  }
}

function refused(error: KsError, reachedHandler: boolean): TriggerResult {
  return { ok: false, code: error.code, reason: error.message, reachedHandler };
}
