import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { Dispatcher } from "../dispatch/dispatcher.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import { CallTracer } from "../telemetry/call-tracer.ts";
import type { Machine } from "./machine.ts";

export function* existingDispatchers(entries: Iterable<FunctionEntry>): Generator<Dispatcher> {
  for (const { existingDispatcher } of entries) if (existingDispatcher !== undefined) yield existingDispatcher;
}

export function liveFigures(dispatcher: Dispatcher | undefined): { inFlight: number; replicas: number } {
  return { inFlight: dispatcher?.inFlight ?? 0, replicas: dispatcher?.replicas ?? 0 };
}

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
