import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { compileScalingPolicy } from "../dispatch/function-scaler.ts";
import { CodeCache } from "../functions/code-cache.ts";
import { buildFailedError, Deployer } from "../functions/deployer.ts";
import { DefaultFunctionService } from "../functions/function-service.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import type { ReplicaProvider } from "../instances/port.ts";
import type { FunctionLogs } from "../logs/function-logs.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { FunctionStore, StoredFunction } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import type { CallRecorder } from "./call-recorder.ts";

const CODE_CACHE_BYTES = 32 * 1024 * 1024;

export interface FunctionParts {
  config: Config;
  clock: Clock;
  store: FunctionStore;
  registry: FunctionRegistry;
  provider: ReplicaProvider;
  metrics: MetricsRegistry;
  logs: FunctionLogs;
  recorder: Pick<CallRecorder, "record">;
  tasks: TaskGroup;
  log: Logger;
  onTriggersChanged(): void;
  /** A function is gone, and all that was kept of it may go. */
  onDeleted(uid: string): void;
}

/** The use-cases and what they stand on: code cache, deployer, and a dispatcher for each function that is called. */
export function createFunctions(parts: FunctionParts): { service: DefaultFunctionService; deployer: Deployer } {
  const { clock, store, registry, provider, onTriggersChanged } = parts;
  const { codeCache, deployer } = createDeployer(parts);
  const service = new DefaultFunctionService({
    ...describeFunctions(parts),
    clock,
    store,
    registry,
    codeCache,
    deployer,
    createDispatcher: (entry) => createDispatcher(entry, deployer, parts),
    runtimes: () => provider.runtimes(),
    installHint: (runtime) => provider.installHint(runtime),
    onTriggersChanged,
  });
  return { service, deployer };
}

export interface DeployerParts extends Omit<FunctionParts, "store"> {
  store: Pick<FunctionStore, "putFunction" | "readCode">;
  onDeployed?(stored: StoredFunction): void;
}

export function createDeployer(parts: DeployerParts): { codeCache: CodeCache; deployer: Deployer } {
  const { clock, store, registry, provider, log, onTriggersChanged, onDeployed } = parts;
  const codeCache = new CodeCache(CODE_CACHE_BYTES);
  const deployer = new Deployer({
    clock,
    store,
    registry,
    codeCache,
    provider,
    onTriggersChanged,
    onDeployed: (stored) => {
      logDeploy(log, stored);
      onDeployed?.(stored);
    },
    onError: (error, { spec }) => log.error({ err: error, function: spec.name }, "deploy failed for a reason of the platform"),
  });
  return { codeCache, deployer };
}

function logDeploy(log: Logger, { spec, revision, status: { state, reason, message } }: StoredFunction): void {
  if (state === "failed") log.warn({ function: spec.name, revision, reason, message }, "deploy failed");
  else log.info({ function: spec.name, revision }, "function deployed");
}

/** What is known of functions beside what is stored. */
export function describeFunctions({ metrics, logs, tasks, onDeleted }: Pick<FunctionParts, "metrics" | "logs" | "tasks" | "onDeleted">) {
  return {
    lastInvocation(uid: string): string | undefined {
      const atMs = metrics.peek(uid)?.lastInvocationMs ?? 0;
      return atMs > 0 ? new Date(atMs).toISOString() : undefined;
    },
    onDeleted(uid: string): void {
      metrics.remove(uid);
      onDeleted(uid);
      tasks.run("remove function log", () => logs.remove(uid));
    },
  };
}

export function createDispatcher(
  entry: FunctionEntry,
  deployer: Deployer,
  { config, clock, provider, recorder }: Pick<FunctionParts, "config" | "clock" | "provider" | "recorder">,
): Dispatcher {
  const { stored } = entry;
  const dispatcher = new Dispatcher((stored.served ?? stored).spec, {
    clock,
    provider,
    queueLimits: { maxCalls: config.maxQueuedCalls, maxBytes: config.maxQueuedMiB * 1024 * 1024 },
    queueTimeoutMs: config.queueTimeoutMs,
    policy: compileScalingPolicy(config.idleTimeoutMs),
    onCallEnded: (call, error) => recorder.record(entry, call, error),
  });
  const served = deployer.servedOf(stored);
  if (served !== undefined) dispatcher.serve(served, []);
  else if (stored.status.state === "failed") dispatcher.fail(buildFailedError(stored));
  return dispatcher;
}
