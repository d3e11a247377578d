import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { systemClock } from "../clock.ts";
import type { CallFacts } from "./call-spans.ts";
import { CallTracer } from "./call-tracer.ts";
import { createOtlpSink } from "./otlp-sink.ts";

interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: { stringValue?: string; intValue?: number; boolValue?: boolean } }[];
  status: { code: number; message?: string };
}

interface OtlpRequest {
  resourceSpans: {
    resource: { attributes: OtlpSpan["attributes"] };
    scopeSpans: { spans: OtlpSpan[] }[];
  }[];
}

/** A collector that keeps what it is sent. */
async function startCollector(t: TestContext) {
  const requests: { path: string; type: string; body: OtlpRequest }[] = [];
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      requests.push({
        path: req.url!,
        type: req.headers["content-type"]!,
        body: JSON.parse(Buffer.concat(chunks).toString()) as OtlpRequest,
      });
      res.setHeader("content-type", "application/json").end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const spans = () => requests.flatMap(({ body }) => body.resourceSpans.flatMap((each) => each.scopeSpans.flatMap((scope) => scope.spans)));
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, spans };
}

function facts(changes: Partial<CallFacts> = {}): CallFacts {
  return {
    functionName: "hello",
    revision: 1,
    requestId: "r1",
    trigger: { type: "http" },
    method: "GET",
    path: "/hello",
    arrivedAtMs: 1_700_000_000_000.25,
    endedAtMs: 1_700_000_000_020.25,
    queueMs: 8,
    cold: { startMs: 5, loadMs: 2 },
    handlerMs: 10,
    status: 200,
    errorCode: undefined,
    ...changes,
  };
}

const silent = { warn: () => {} };

test("a call's spans reach a collector as OTLP, whole and related", async (t) => {
  const { endpoint, requests, spans } = await startCollector(t);
  const tracer = new CallTracer(await createOtlpSink({ endpoint: `${endpoint}/`, version: "1.2.3", clock: systemClock, log: silent }));
  const trace = tracer.begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
  tracer.end(trace, facts({ status: undefined, errorCode: "TIMEOUT", errorMessage: "too slow" }));
  await tracer.stop({ deadlineMs: 5_000 });
  assert.equal(requests.length, 1);
  assert.equal(requests[0]!.path, "/v1/traces");
  assert.equal(requests[0]!.type, "application/json");
  const service = requests[0]!.body.resourceSpans[0]!.resource.attributes;
  assert.deepEqual(Object.fromEntries(service.map(({ key, value }) => [key, value.stringValue])), {
    "service.name": "kube-serverless",
    "service.version": "1.2.3",
  });
  const byName = new Map(spans().map((span) => [span.name, span]));
  assert.deepEqual([...byName.keys()], ["call hello", "queue", "start", "load", "handler"]);
  const call = byName.get("call hello")!;
  assert.equal(call.traceId, "4bf92f3577b34da6a3ce929d0e0e4736");
  assert.equal(call.parentSpanId, "00f067aa0ba902b7");
  assert.equal(call.kind, 2, "SERVER");
  assert.equal(call.status.code, 2, "ERROR");
  assert.equal(call.status.message, "too slow");
  assert.equal(call.startTimeUnixNano, "1700000000000250000");
  assert.equal(call.endTimeUnixNano, "1700000000020250000");
  assert.equal(call.attributes.find(({ key }) => key === "error.type")?.value.stringValue, "TIMEOUT");
  for (const name of ["queue", "start", "load", "handler"]) assert.equal(byName.get(name)!.parentSpanId, call.spanId, name);
});

test("many calls share requests, and who is not sampled is not sent", async (t) => {
  const { endpoint, requests, spans } = await startCollector(t);
  const tracer = new CallTracer(await createOtlpSink({ endpoint, version: "1", clock: systemClock, log: silent }));
  for (let i = 0; i < 300; i++) tracer.end(tracer.begin(undefined), facts({ cold: undefined }));
  tracer.end(tracer.begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"), facts());
  await tracer.stop({ deadlineMs: 5_000 });
  assert.equal(spans().length, 900);
  assert.ok(requests.length <= 3, `${requests.length} requests`);
});

test("without stop they are sent after a moment", async (t) => {
  const { endpoint, spans } = await startCollector(t);
  const tracer = new CallTracer(await createOtlpSink({ endpoint, version: "1", clock: systemClock, log: silent, delayMs: 10 }));
  tracer.end(tracer.begin(undefined), facts());
  const giveUpMs = Date.now() + 5_000;
  while (spans().length < 5 && Date.now() < giveUpMs) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(spans().length, 5);
  await tracer.stop({ deadlineMs: 1_000 });
});

test("a collector that is away costs no memory without bound, no time, and one warning", async () => {
  const warnings: object[] = [];
  const log = { warn: (fields: object) => void warnings.push(fields) };
  const sink = await createOtlpSink({ endpoint: "http://127.0.0.1:9", version: "1", clock: systemClock, log, delayMs: 5 });
  const tracer = new CallTracer(sink);
  for (let i = 0; i < 20_000; i++) tracer.end(tracer.begin(undefined), facts());
  const startMs = performance.now();
  await tracer.stop({ deadlineMs: 300 });
  assert.ok(performance.now() - startMs < 5_000);
  assert.ok(warnings.length <= 1);
});
