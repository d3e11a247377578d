import type { ErrorCode, QueueTrigger, TriggerInfo } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { QueueLog } from "../queue/log.ts";
import type { Consumer, Delivery, DeliveryOutcome, QueueDriver, Subscription } from "../queue/port.ts";
import { triggerId } from "./trigger-id.ts";

/** Deliveries of one trigger in flight at once: as many as ten replicas that take one call each, the default of Python. */
export const DEFAULT_QUEUE_CONCURRENCY = 10;
export const DEFAULT_MAX_ATTEMPTS = 5;

const HOLD_FIRST_MS = 100;
const HOLD_MAX_MS = 5_000;
/** With the longest handler still below the 30 minutes after which RabbitMQ takes a message back from its consumer. */
const HOLD_LIMIT_MS = 300_000;
/** A trigger that is gone lets its calls end by their own limits, at most 15 minutes each. */
const RETIRE_DEADLINE_MS = 960_000;

/** Not begun, and it is the message's own doing: waiting does not help. */
const FAULTS_OF_THE_MESSAGE: ReadonlySet<ErrorCode> = new Set([
  "INVALID_REQUEST",
  "BAD_REQUEST",
  "BODY_TOO_LARGE",
  "HEADERS_TOO_LARGE",
  "UNSUPPORTED_MEDIA_TYPE",
  "INTERNAL",
]);

/** The server's end cut the call off, not the function: uncounted even when the handler had begun. */
const CUT_OFF_BY_US: ReadonlySet<ErrorCode> = new Set(["DRAINING", "CLIENT_CLOSED"]);

/** A message as the call of a function. */
export interface QueueInvocation {
  method: "POST";
  path: "/queue";
  /** Names in lower case. */
  headers: Record<string, string>;
  body: Buffer;
  trigger: Extract<TriggerInfo, { type: "queue" }>;
  /** Aborts when the message is given back: nobody waits for the result any more. */
  signal: AbortSignal;
}

export type InvocationResult =
  | { ok: true }
  /** `reachedHandler`: user code may have run. */
  | { ok: false; code: ErrorCode; reason: string; reachedHandler: boolean };

/** Calls the function with that uid; any response of it is a success, whatever its status. */
export type InvokeFromQueue = (uid: string, invocation: QueueInvocation) => Promise<InvocationResult>;

export interface DesiredQueueTrigger {
  uid: string;
  config: QueueTrigger["config"];
}

export interface QueueTriggersOptions {
  driver: QueueDriver;
  invoke: InvokeFromQueue;
  clock: Clock;
  log: QueueLog;
}

interface ActiveTrigger {
  config: string;
  consumer: Consumer;
  /** Aborted when it stops: a message that waits for its function is given back at once. */
  stopping: AbortController;
}

/** Keeps one consumer for each queue trigger there is, and turns what it delivers into calls. */
export class QueueTriggers {
  readonly #options: QueueTriggersOptions;
  readonly #active = new Map<string, ActiveTrigger>();
  readonly #retired = new Set<Consumer>();

  constructor(options: QueueTriggersOptions) {
    this.#options = options;
  }

  /** Starts what is new, stops what is gone, and leaves alone what is the same: a trigger is its function's uid, queue and exchange. */
  sync(desired: readonly DesiredQueueTrigger[]): void {
    const wanted = new Map(desired.map((trigger) => [keyOf(trigger), trigger]));
    for (const [key, active] of this.#active) {
      const trigger = wanted.get(key);
      if (trigger !== undefined && JSON.stringify(trigger.config) === active.config) continue;
      this.#active.delete(key);
      void this.#retire(active);
    }
    for (const [key, trigger] of wanted) {
      if (!this.#active.has(key)) this.#active.set(key, this.#start(trigger));
    }
  }

  /** Takes no more messages and waits for the calls within; what is left at the deadline goes back to its queue, uncounted. */
  async stop(options: { deadlineMs: number }): Promise<void> {
    for (const { consumer, stopping } of this.#active.values()) {
      stopping.abort();
      this.#retired.add(consumer);
    }
    this.#active.clear();
    await Promise.all([...this.#retired].map((consumer) => consumer.stop(options)));
  }

  #start({ uid, config }: DesiredQueueTrigger): ActiveTrigger {
    const stopping = new AbortController();
    const subscription: Subscription = {
      queue: config.queue,
      concurrency: config.concurrency ?? DEFAULT_QUEUE_CONCURRENCY,
      maxAttempts: config.maxAttempts ?? DEFAULT_MAX_ATTEMPTS,
      handle: (delivery) => this.#handle(uid, config, delivery, stopping.signal),
    };
    if (config.exchange !== undefined) subscription.exchange = config.exchange;
    if (config.routingKey !== undefined) subscription.routingKey = config.routingKey;
    return { config: JSON.stringify(config), consumer: this.#options.driver.consume(subscription), stopping };
  }

  async #retire({ consumer, stopping }: ActiveTrigger): Promise<void> {
    this.#retired.add(consumer);
    stopping.abort();
    try {
      await consumer.stop({ deadlineMs: RETIRE_DEADLINE_MS });
    } catch (error) {
      this.#options.log.warn({ error: (error as Error).message }, "a queue consumer did not stop cleanly");
    }
    this.#retired.delete(consumer);
  }

  /**
   * Calls the function until the message has reached it. A function that cannot take it (no place, deploying, draining)
   * is no failure of the message: it is held and tried again, which keeps its place in line and counts no attempt.
   */
  async #handle(uid: string, config: QueueTrigger["config"], delivery: Delivery, stopping: AbortSignal): Promise<DeliveryOutcome> {
    const { clock, invoke } = this.#options;
    const invocation = buildInvocation(config, delivery);
    const startedMs = clock.monotonicMs();
    const isOver = (): boolean => stopping.aborted || delivery.signal.aborted;
    for (let waitMs = HOLD_FIRST_MS; ; waitMs = Math.min(waitMs * 2, HOLD_MAX_MS)) {
      const result = await invoke(uid, invocation);
      const next = decideAfterInvocation(result);
      if (next !== "hold") return next;
      if (isOver() || clock.monotonicMs() - startedMs >= HOLD_LIMIT_MS) return { kind: "release" };
      await pause(clock, waitMs, stopping);
      if (isOver()) return { kind: "release" };
    }
  }
}

function keyOf({ uid, config }: DesiredQueueTrigger): string {
  return triggerId(uid, { type: "queue", config });
}

/** What a call's end means for its message: a throw, crash or time-out is counted, a call that never began is not. */
export function decideAfterInvocation(result: InvocationResult): DeliveryOutcome | "hold" {
  if (result.ok) return { kind: "ack" };
  if (CUT_OFF_BY_US.has(result.code)) return "hold";
  if (!result.reachedHandler && !FAULTS_OF_THE_MESSAGE.has(result.code)) return "hold";
  return { kind: "fail", reason: `${result.code}: ${result.reason}` };
}

function buildInvocation(config: QueueTrigger["config"], delivery: Delivery): QueueInvocation {
  const { body, messageId, attempt, redelivered, signal } = delivery;
  const trigger = { type: "queue" as const, queue: config.queue, exchange: config.exchange ?? "", messageId, attempt, redelivered };
  return { method: "POST", path: "/queue", headers: buildHeaders(delivery), body, trigger, signal };
}

/** As in HTTP: names in lower case, values of the same name joined. */
function buildHeaders({ headers, contentType }: Delivery): Record<string, string> {
  const joined = new Map<string, string>();
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    const earlier = joined.get(lower);
    joined.set(lower, earlier === undefined ? value : `${earlier}, ${value}`);
  }
  if (contentType === undefined) joined.delete("content-type");
  else joined.set("content-type", contentType);
  return Object.fromEntries(joined);
}

function pause(clock: Clock, delayMs: number, wakeUp: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      wakeUp.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimer(delayMs, end);
    wakeUp.addEventListener("abort", end);
  });
}
