import { ERRORS, type ErrorCode, type TriggerInfo } from "@kube-serverless/contracts";
import type { CallTrace } from "./call-trace.ts";

/** What became of a call; durations in milliseconds. */
export interface CallFacts {
  functionName: string;
  revision: number;
  requestId: string;
  trigger: TriggerInfo;
  method: string;
  path: string;
  /** Wall clock, milliseconds since 1970. */
  arrivedAtMs: number;
  endedAtMs: number;
  /** How long after its arrival it was given to a replica; undefined when it never was. */
  queueMs: number | undefined;
  /** Of a call that waited for a replica: its parts of `queueMs`, the last ones of it. */
  cold: { startMs: number; loadMs: number } | undefined;
  /** The handler's own time. */
  handlerMs: number;
  /** What the function answered. */
  status: number | undefined;
  errorCode: ErrorCode | undefined;
  errorMessage?: string;
}

export type SpanAttributes = Record<string, string | number | boolean>;

/** A span without the SDK's types. */
export interface SpanRecord {
  traceId: string;
  spanId: string;
  parentSpanId: string | undefined;
  /** The parent belongs to another process. */
  hasRemoteParent: boolean;
  name: string;
  kind: "server" | "consumer" | "internal";
  startMs: number;
  endMs: number;
  attributes: SpanAttributes;
  /** The message of a failure. */
  failure: string | undefined;
}

const TRIGGER_NAMES = { invoke: "http", http: "http", cron: "timer", queue: "pubsub" } as const;
const KINDS = { invoke: "server", http: "server", cron: "internal", queue: "consumer" } as const;

/** The span of a call, and one for each part of its time that there was: queue, start, load, handler. */
export function buildCallSpans(trace: CallTrace, facts: CallFacts, newSpanId: () => string): SpanRecord[] {
  const call: SpanRecord = {
    traceId: trace.traceId,
    spanId: trace.callSpanId,
    parentSpanId: trace.parent?.spanId,
    hasRemoteParent: trace.parent !== undefined,
    name: `call ${facts.functionName}`,
    kind: KINDS[facts.trigger.type],
    startMs: facts.arrivedAtMs,
    endMs: facts.endedAtMs,
    attributes: buildAttributes(facts),
    failure: describeFailure(facts),
  };
  return [call, ...buildParts(facts).map(({ name, startMs, endMs }) => buildPart(call, name, startMs, endMs, trace, newSpanId))];
}

interface Part {
  name: "queue" | "start" | "load" | "handler";
  startMs: number;
  endMs: number;
}

function buildParts(facts: CallFacts): Part[] {
  const { arrivedAtMs, endedAtMs, cold } = facts;
  const sentAtMs = facts.queueMs === undefined ? endedAtMs : Math.min(arrivedAtMs + facts.queueMs, endedAtMs);
  const coldMs = cold === undefined ? 0 : Math.min(cold.startMs + cold.loadMs, sentAtMs - arrivedAtMs);
  const parts: Part[] = [{ name: "queue", startMs: arrivedAtMs, endMs: sentAtMs - coldMs }];
  if (cold !== undefined) {
    const loadFromMs = Math.max(sentAtMs - cold.loadMs, sentAtMs - coldMs);
    parts.push({ name: "start", startMs: sentAtMs - coldMs, endMs: loadFromMs }, { name: "load", startMs: loadFromMs, endMs: sentAtMs });
  }
  if (facts.queueMs !== undefined)
    parts.push({ name: "handler", startMs: sentAtMs, endMs: Math.min(sentAtMs + facts.handlerMs, endedAtMs) });
  return parts;
}

function buildPart(
  call: SpanRecord,
  name: Part["name"],
  startMs: number,
  endMs: number,
  trace: CallTrace,
  newSpanId: () => string,
): SpanRecord {
  return {
    traceId: call.traceId,
    spanId: name === "handler" ? trace.handlerSpanId : newSpanId(),
    parentSpanId: call.spanId,
    hasRemoteParent: false,
    name,
    kind: "internal",
    startMs,
    endMs,
    attributes: {},
    failure: undefined,
  };
}

/** Names of OpenTelemetry's semantic conventions where they have one. */
function buildAttributes(facts: CallFacts): SpanAttributes {
  const attributes: SpanAttributes = {
    "faas.name": facts.functionName,
    "faas.version": String(facts.revision),
    "faas.invocation_id": facts.requestId,
    "faas.trigger": TRIGGER_NAMES[facts.trigger.type],
    "faas.coldstart": facts.cold !== undefined,
    "http.request.method": facts.method,
    "url.path": facts.path,
  };
  if (facts.status !== undefined) attributes["http.response.status_code"] = facts.status;
  if (facts.errorCode !== undefined) attributes["error.type"] = facts.errorCode;
  const { trigger } = facts;
  if (trigger.type === "cron") {
    attributes["faas.cron"] = trigger.schedule;
    attributes["faas.time"] = trigger.plannedAt;
  }
  if (trigger.type === "queue") {
    attributes["messaging.destination.name"] = trigger.queue;
    attributes["messaging.message.id"] = trigger.messageId;
  }
  return attributes;
}

/** A caller's own mistake is no failure of the span. */
function describeFailure({ errorCode, errorMessage, status }: CallFacts): string | undefined {
  if (errorCode !== undefined) return ERRORS[errorCode].kind === "user" ? undefined : (errorMessage ?? errorCode);
  return status !== undefined && status >= 500 ? `status ${status}` : undefined;
}
