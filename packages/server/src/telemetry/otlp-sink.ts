import { type HrTime, type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../clock.ts";
import type { SpanRecord } from "./call-spans.ts";
import type { SpanSink } from "./call-tracer.ts";

export interface OtlpSinkOptions {
  /** Base address of a collector, such as http://127.0.0.1:4318; `/v1/traces` is added. */
  endpoint: string;
  version: string;
  clock: Clock;
  log: { warn(fields: object, message: string): void };
  /** Spans wait so long for others to share a request. @default 2000 */
  delayMs?: number;
}

const MAX_QUEUED_SPANS = 8_192;
const MAX_SPANS_A_REQUEST = 512;
const REQUEST_TIMEOUT_MS = 10_000;
/** A collector that is away is told of so often. */
const WARNING_INTERVAL_MS = 60_000;
const KINDS = { server: SpanKind.SERVER, consumer: SpanKind.CONSUMER, internal: SpanKind.INTERNAL };

/** Exports spans as OTLP over HTTP in JSON. The SDK is loaded here, so that who does not trace does not pay for it. */
export async function createOtlpSink(options: OtlpSinkOptions): Promise<SpanSink> {
  const [{ BatchSpanProcessor }, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const url = `${options.endpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: REQUEST_TIMEOUT_MS, concurrencyLimit: 4 });
  const processor = new BatchSpanProcessor({
    exporter: reportFailures(exporter, url, options),
    maxQueueSize: MAX_QUEUED_SPANS,
    maxExportBatchSize: MAX_SPANS_A_REQUEST,
    scheduledDelayMillis: options.delayMs ?? 2_000,
    exportTimeoutMillis: REQUEST_TIMEOUT_MS,
  });
  const resource = resourceFromAttributes({ "service.name": "kube-serverless", "service.version": options.version });
  const instrumentationScope = { name: "kube-serverless", version: options.version };
  return {
    add(spans) {
      for (const span of spans) processor.onEnd(toReadableSpan(span, resource, instrumentationScope));
    },
    async stop({ deadlineMs }) {
      const { promise: deadline, resolve } = Promise.withResolvers<void>();
      const timer = options.clock.setTimer(deadlineMs, resolve);
      await Promise.race([processor.shutdown().catch(() => {}), deadline]);
      timer.cancel();
    },
  };
}

function reportFailures(exporter: SpanExporter, url: string, { log, clock }: OtlpSinkOptions): SpanExporter {
  let warnedAtMs = Number.NEGATIVE_INFINITY;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        if (result.error !== undefined && clock.monotonicMs() - warnedAtMs >= WARNING_INTERVAL_MS) {
          warnedAtMs = clock.monotonicMs();
          log.warn({ url, spans: spans.length, reason: result.error.message }, "spans could not be exported");
        }
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}

function toReadableSpan(
  span: SpanRecord,
  resource: ReadableSpan["resource"],
  instrumentationScope: ReadableSpan["instrumentationScope"],
): ReadableSpan {
  const { traceId, parentSpanId } = span;
  const context: SpanContext = { traceId, spanId: span.spanId, traceFlags: TraceFlags.SAMPLED };
  const readable: ReadableSpan = {
    name: span.name,
    kind: KINDS[span.kind],
    spanContext: () => context,
    startTime: toHrTime(span.startMs),
    endTime: toHrTime(span.endMs),
    duration: toHrTime(span.endMs - span.startMs),
    ended: true,
    status: span.failure === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: span.failure },
    attributes: span.attributes,
    links: [],
    events: [],
    resource,
    instrumentationScope,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
  if (parentSpanId === undefined) return readable;
  return {
    ...readable,
    parentSpanContext: { traceId, spanId: parentSpanId, traceFlags: TraceFlags.SAMPLED, isRemote: span.hasRemoteParent },
  };
}

/** Seconds and nanoseconds. */
function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000);
  return [seconds, Math.floor((ms - seconds * 1_000) * 1e6)];
}
