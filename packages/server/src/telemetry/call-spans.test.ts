import assert from "node:assert/strict";
import { test } from "node:test";
import { buildCallSpans, type CallFacts } from "./call-spans.ts";
import { beginCallTrace } from "./call-trace.ts";
import { parseTraceparent } from "./traceparent.ts";

const T0 = 1_700_000_000_000;
const HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

function facts(changes: Partial<CallFacts> = {}): CallFacts {
  return {
    functionName: "hello",
    revision: 3,
    requestId: "r1",
    trigger: { type: "invoke" },
    method: "POST",
    path: "/invoke",
    arrivedAtMs: T0,
    endedAtMs: T0 + 30,
    queueMs: 12,
    cold: undefined,
    handlerMs: 15,
    status: 200,
    errorCode: undefined,
    ...changes,
  };
}

function build(changes: Partial<CallFacts> = {}) {
  const trace = beginCallTrace(HEADER);
  let next = 0;
  const spans = buildCallSpans(trace, facts(changes), () => `${next++}`.padStart(16, "a"));
  return { trace, spans, times: spans.map(({ name, startMs, endMs }) => `${name} ${startMs - T0}-${endMs - T0}`) };
}

test("a caller's trace goes on: the call is the caller's child, the handler the call's, the function's spans the handler's", () => {
  const { trace, spans } = build();
  const [call, , handler] = spans;
  assert.equal(call!.traceId, "4bf92f3577b34da6a3ce929d0e0e4736");
  assert.equal(call!.parentSpanId, "00f067aa0ba902b7");
  assert.equal(call!.hasRemoteParent, true);
  assert.equal(handler!.parentSpanId, call!.spanId);
  assert.deepEqual(parseTraceparent(trace.traceparent), { traceId: call!.traceId, spanId: handler!.spanId, sampled: true });
});

test("without a caller's a trace begins, each another", () => {
  const [one, two] = [beginCallTrace(undefined), beginCallTrace("not a header")];
  assert.notEqual(one.traceId, two.traceId);
  for (const trace of [one, two]) {
    assert.equal(parseTraceparent(trace.traceparent)?.traceId, trace.traceId);
    assert.equal(trace.parent, undefined);
  }
});

test("a caller who does not sample is followed", () => {
  const trace = beginCallTrace(HEADER.replace(/01$/, "00"));
  assert.equal(trace.sampled, false);
  assert.match(trace.traceparent, /-00$/);
});

test("a warm call has a queue and a handler", () => {
  assert.deepEqual(build().times, ["call hello 0-30", "queue 0-12", "handler 12-27"]);
});

test("a cold call shows where its time went", () => {
  const { times, spans } = build({ cold: { startMs: 6, loadMs: 4 } });
  assert.deepEqual(times, ["call hello 0-30", "queue 0-2", "start 2-8", "load 8-12", "handler 12-27"]);
  assert.equal(spans[0]!.attributes["faas.coldstart"], true);
});

test("a start that began before the call came does not reach before it", () => {
  assert.deepEqual(build({ cold: { startMs: 500, loadMs: 4 } }).times, [
    "call hello 0-30",
    "queue 0-0",
    "start 0-8",
    "load 8-12",
    "handler 12-27",
  ]);
});

test("a call that never reached a replica has waited, and no handler", () => {
  const { times, spans } = build({ queueMs: undefined, status: undefined, errorCode: "NO_CAPACITY", errorMessage: "No capacity" });
  assert.deepEqual(times, ["call hello 0-30", "queue 0-30"]);
  assert.equal(spans[0]!.failure, "No capacity");
  assert.equal(spans[0]!.attributes["error.type"], "NO_CAPACITY");
});

test("what failed is said; what its caller did wrong is none of the span's", () => {
  assert.equal(build({ errorCode: "FUNCTION_ERROR", errorMessage: "boom", status: undefined }).spans[0]!.failure, "boom");
  assert.equal(build({ status: 503 }).spans[0]!.failure, "status 503");
  assert.equal(build({ status: 404 }).spans[0]!.failure, undefined);
  assert.equal(build({ errorCode: "CLIENT_CLOSED" }).spans[0]!.failure, undefined);
});

test("triggers by their conventional names", () => {
  const cron = build({ trigger: { type: "cron", schedule: "*/5 * * * *", plannedAt: "2024-01-15T12:05:00.000Z" } }).spans[0]!;
  assert.equal(cron.kind, "internal");
  assert.equal(cron.attributes["faas.trigger"], "timer");
  assert.equal(cron.attributes["faas.cron"], "*/5 * * * *");
  const trigger = { type: "queue", queue: "orders", exchange: "", messageId: "m1", attempt: 1, redelivered: false } as const;
  const queue = build({ trigger }).spans[0]!;
  assert.equal(queue.kind, "consumer");
  assert.equal(queue.attributes["messaging.message.id"], "m1");
});
