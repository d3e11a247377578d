import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { startServer, waitFor } from "../../support/server.ts";

interface Span {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  attributes: { key: string; value: Record<string, unknown> }[];
}

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = `00-${TRACE_ID}-00f067aa0ba902b7-01`;
const CODE = "exports.handler = async (event) => ({ traceparent: event.headers.traceparent })";

/** A collector that takes OTLP over HTTP in JSON. */
async function startCollector(): Promise<{ url: string; spans: Span[]; close(): void }> {
  const spans: Span[] = [];
  const server = createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { resourceSpans: { scopeSpans: { spans: Span[] }[] }[] };
      for (const { scopeSpans } of body.resourceSpans) for (const scope of scopeSpans) spans.push(...scope.spans);
      res.writeHead(200, { "Content-Type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, spans, close: () => server.close() };
}

async function deploy(api: string): Promise<void> {
  const body = JSON.stringify({ name: "traced", runtime: "nodejs18", handler: "index.handler", code: CODE });
  const created = await fetch(`${api}/functions`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  assert.equal(created.status, 201);
}

async function call(url: string): Promise<string> {
  const answer = await fetch(`${url}/fn/traced`, { headers: { traceparent: CALLER } });
  return ((await answer.json()) as { traceparent: string }).traceparent;
}

test("a call's spans reach the collector under the caller's trace, and the function is their child", async (t) => {
  const collector = await startCollector();
  t.after(() => collector.close());
  const server = await startServer({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url } });
  t.after(() => server.stop());
  await deploy(server.api);
  const seen = await call(server.url);
  const handler = await waitFor("the handler's span", () => collector.spans.find((span) => span.name === "handler"));
  const whole = collector.spans.find((span) => span.name === "call traced");
  assert.equal(whole?.traceId, TRACE_ID);
  assert.equal(whole?.parentSpanId, "00f067aa0ba902b7");
  assert.equal(handler.parentSpanId, whole?.spanId);
  assert.equal(seen, `00-${TRACE_ID}-${handler.spanId}-01`);
  assert.deepEqual(
    new Set(collector.spans.filter(({ parentSpanId }) => parentSpanId === whole?.spanId).map(({ name }) => name)),
    new Set(["queue", "start", "load", "handler"]),
  );
});

test("without a collector the caller's traceparent is passed on as it is", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  await deploy(server.api);
  assert.equal(await call(server.url), CALLER);
});
