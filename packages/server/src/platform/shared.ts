import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import { type Clock, systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import { createFunctionLogs, type FunctionLogs } from "../logs/function-logs.ts";
import type { Prices } from "../metrics/function-counters.ts";
import { CallTracer } from "../telemetry/call-tracer.ts";
import type { Machine } from "./machine.ts";

export function* existingDispatchers(entries: Iterable<FunctionEntry>): Generator<Dispatcher> {
  for (const { existingDispatcher } of entries) if (existingDispatcher !== undefined) yield existingDispatcher;
}

export function liveFigures(dispatcher: Dispatcher | undefined): { inFlight: number; replicas: number } {
  return { inFlight: dispatcher?.inFlight ?? 0, replicas: dispatcher?.replicas ?? 0 };
}

/** A function as `/metrics` shows it, with the counters that are known of it. */
export function scrapedAs<Counters>({ stored, existingDispatcher }: FunctionEntry, counters: Counters) {
  return { name: stored.spec.name, counters, queued: existingDispatcher?.queued ?? 0, ...liveFigures(existingDispatcher) };
}

/** What the configuration says of costs. */
export function pricesOf({ costPerGbSecond, costPerInvocation }: Config): Prices {
  return { perGbSecond: costPerGbSecond, perInvocation: costPerInvocation };
}

/** What functions print, in a folder of the data folder. */
export function openFunctionLogs({ dataFolder }: Config, name: string, clock: Clock, log: Logger): FunctionLogs {
  return createFunctionLogs({
    folder: join(dataFolder, name),
    clock,
    onWriteError: (error, uid) => log.warn({ err: error, uid }, "function log cannot be written"),
  });
}

/** What calls that still wait at the end are told. */
export function shutDownError(): KsError {
  return new KsError("DRAINING", { message: "The server shut down before the call got a place", details: { phase: "queued" } });
}

/** What queues still hold may take so long to be given back. */
export const QUEUES_GRACE_MS = 1000;
/** Spans that are not sent yet may take so long to leave. */
export const LAST_SPANS_MS = 2000;

/** The SDK is loaded only where spans are wanted. */
export async function createTracer(config: Config, machine: Machine, log: Logger): Promise<CallTracer | undefined> {
  if (config.otlpEndpoint === undefined) return undefined;
  const { createOtlpSink } = await import("../telemetry/otlp-sink.ts");
  return new CallTracer(await createOtlpSink({ endpoint: config.otlpEndpoint, version: machine.version, clock: systemClock, log }));
}

/** The pair was tried when the configuration was checked. */
export function readTls({ tlsCertFile, tlsKeyFile }: Config): { cert: Buffer; key: Buffer } | undefined {
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  return { cert: readFileSync(tlsCertFile), key: readFileSync(tlsKeyFile) };
}
