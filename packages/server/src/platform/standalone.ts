import { readFileSync } from "node:fs";
import { join } from "node:path";
import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import { createControlApi, type ControlApi } from "../api/control-api.ts";
import type { Readiness } from "../api/dependencies.ts";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import type { Call } from "../dispatch/call.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { compileScalingPolicy } from "../dispatch/function-scaler.ts";
import { Fleet } from "../dispatch/fleet.ts";
import { CodeCache } from "../functions/code-cache.ts";
import { buildFailedError, Deployer } from "../functions/deployer.ts";
import { DefaultFunctionService } from "../functions/function-service.ts";
import { type FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import { Forwarding } from "../gateway/forwarding.ts";
import { Gateway } from "../gateway/gateway.ts";
import { Front } from "../http/front.ts";
import { RequestGuard } from "../http/request-guard.ts";
import { detectGo } from "../instances/local/go/go-toolchain.ts";
import { LocalProvider } from "../instances/local/provider.ts";
import { buildCatalogue, DOCUMENTED_RUNTIMES } from "../instances/local/runtimes/catalogue.ts";
import { detectInterpreters } from "../instances/local/runtimes/installed.ts";
import { createSandbox } from "../instances/local/sandbox/create-sandbox.ts";
import { defaultRuntimeFolder } from "../instances/local/sandbox/options.ts";
import { createFunctionLogs } from "../logs/function-logs.ts";
import { renderExposition } from "../metrics/exposition.ts";
import { MetricsRegistry } from "../metrics/registry.ts";
import type { QueueDriver } from "../queue/port.ts";
import { EMBEDDED_QUEUE_MODULE, openEmbeddedQueues } from "../queue/sqlite/driver.ts";
import type { SqliteClient } from "../store/sqlite/client.ts";
import { createSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { TaskGroup } from "../task-group.ts";
import { TriggerInvoker } from "../triggers/invoker.ts";
import { QueueTriggers } from "../triggers/queue.ts";
import type { BannerFacts } from "./banner.ts";
import { FunctionOutput } from "./function-output.ts";
import { startGo } from "./go.ts";

/** Answers that are complete may take so long to leave. */
const CLOSE_GRACE_MS = 1000;

/** What main.ts knows of the machine and hands on. */
export interface Machine {
  projectFolder: string;
  searchPath: readonly string[];
  xdgRuntimeFolder: string | undefined;
  isRoot: boolean;
  version: string;
  /** A state that cannot be saved must not be served on. */
  onFatal(error: Error): void;
}

/** The running server of one machine. */
export interface Platform {
  facts: BannerFacts;
  stop(): Promise<void>;
}

/** Builds the graph of the standalone platform and starts it in order. */
export async function startStandalone(config: Config, machine: Machine, log: Logger): Promise<Platform> {
  const clock = systemClock;
  const tasks = new TaskGroup(log);
  const runtimesFolder = join(machine.projectFolder, "runtimes");
  const runtimeFolder = defaultRuntimeFolder({
    runAsRoot: machine.isRoot,
    xdgRuntimeFolder: machine.xdgRuntimeFolder,
    dataFolder: config.dataFolder,
  });

  const store = await createSqliteStore({
    folder: config.dataFolder,
    modules: [EMBEDDED_QUEUE_MODULE],
    onFatal: machine.onFatal,
    ...(config.failpoint === undefined ? {} : { failpoint: config.failpoint }),
  });
  const named = new Map(config.runtimePaths.map(({ runtime, path }) => [runtime, path]));
  const [sandbox, interpreters, toolchains] = await Promise.all([
    createSandbox({
      mode: config.sandbox,
      network: config.sandboxNetwork,
      uidRange: { first: config.uidRange.first, count: config.uidRange.last - config.uidRange.first + 1 },
      runtimeFolder,
      runAsRoot: machine.isRoot,
      log,
    }),
    detectInterpreters({
      projectFolder: machine.projectFolder,
      searchPath: machine.searchPath,
      named,
      os: process.platform,
      arch: process.arch,
    }),
    detectGo({ searchPath: machine.searchPath, named }),
  ]);
  const catalogue = buildCatalogue([...interpreters, ...toolchains], config.strictRuntimes);
  const go =
    toolchains.length === 0
      ? undefined
      : await startGo({
          toolchains,
          sandbox,
          clock,
          runtimesFolder,
          dataFolder: config.dataFolder,
          cacheMiB: config.goCacheMiB,
          log,
        });

  const logs = createFunctionLogs({
    folder: join(config.dataFolder, "logs"),
    clock,
    onWriteError: (error, uid) => log.warn({ err: error, uid }, "function log cannot be written"),
  });
  const metrics = new MetricsRegistry({
    store,
    clock,
    tasks,
    prices: { perGbSecond: config.costPerGbSecond, perInvocation: config.costPerInvocation },
  });
  const registry = new FunctionRegistry();
  const fleet = new Fleet(clock, { list: () => existingDispatchers(registry) });
  const provider = new LocalProvider({
    clock,
    sandbox,
    catalogue,
    runtimesFolder,
    limits: { maxReplicas: config.maxReplicas, maxMemoryMiB: config.maxMemoryMiB },
    pools: buildPools(config, catalogue),
    output: new FunctionOutput(logs),
    go: go?.support,
    goReady: go?.ready ?? new Promise(() => undefined),
    reclaimIdle: () => fleet.giveUpIdle(),
    onStartFailed: (error, replicaClass) => log.warn({ err: error, ...replicaClass }, "a waiting replica did not start"),
  });

  const codeCache = new CodeCache(32 * 1024 * 1024);
  let syncTriggers = (): void => undefined;
  const deployer: Deployer = new Deployer({
    clock,
    store,
    registry,
    codeCache,
    provider,
    onTriggersChanged: () => syncTriggers(),
    onDeployed: ({ spec, status, revision }) =>
      log.info({ function: spec.name, revision, state: status.state, reason: status.reason }, "function deployed"),
    onError: (error, { spec }) => log.error({ err: error, function: spec.name }, "deploy failed for a reason of the platform"),
  });
  const createDispatcher = (entry: FunctionEntry): Dispatcher => {
    const { stored } = entry;
    const dispatcher = new Dispatcher((stored.served ?? stored).spec, {
      clock,
      provider,
      queueLimits: { maxCalls: config.maxQueuedCalls, maxBytes: config.maxQueuedMiB * 1024 * 1024 },
      queueTimeoutMs: config.queueTimeoutMs,
      policy: compileScalingPolicy(config.idleTimeoutMs),
      onCallEnded: (call, error) => recordCall(entry, call, error),
    });
    const served = deployer.servedOf(stored);
    if (served !== undefined) dispatcher.serve(served, []);
    else if (stored.status.state === "failed") dispatcher.fail(buildFailedError(stored));
    return dispatcher;
  };
  const recordCall = (entry: FunctionEntry, call: Call, error: KsError | undefined): void => {
    const nowMs = clock.nowMs();
    entry.lastInvocationMs = nowMs;
    const counters = metrics.counters(entry.stored.uid);
    const reached = call.slot !== undefined;
    counters.record(reached ? call.durationMs : -1, (entry.stored.served ?? entry.stored).spec.memory, error?.code, nowMs);
    if (call.times.cold) {
      const { arrivedAtMs, sentAtMs, startMs, loadMs } = call.times;
      counters.recordColdStart({ queueMs: Math.max(0, sentAtMs - arrivedAtMs), startMs, loadMs });
    }
  };
  const functions = new DefaultFunctionService({
    clock,
    store,
    registry,
    codeCache,
    deployer,
    createDispatcher,
    runtimes: () => provider.runtimes(),
    onTriggersChanged: () => syncTriggers(),
    onDeleted: (uid) => {
      metrics.remove(uid);
      tasks.run("remove function log", () => logs.remove(uid));
    },
  });

  const queues = await openQueues(config.amqpUrl, store.client, log);
  const invoker = new TriggerInvoker(clock, registry);
  const queueTriggers = new QueueTriggers({
    driver: queues,
    clock,
    log,
    invoke: (uid, { path, headers, body, trigger, signal }) => invoker.invoke(uid, { path, headers, body, trigger, signal }),
  });
  syncTriggers = () => {
    const entries = [...registry.entries()];
    queueTriggers.sync(
      entries.flatMap(({ stored }) =>
        (stored.served ?? stored).spec.triggers.flatMap((trigger) =>
          trigger.type === "queue" ? [{ uid: stored.uid, config: trigger.config }] : [],
        ),
      ),
    );
  };

  let state: Readiness["state"] = "starting";
  const readiness = (): Readiness => ({
    state,
    degraded: [...provider.degraded(), ...(store.writable ? [] : ["store"]), ...(queues.connected ? [] : ["broker"])],
  });
  const control: ControlApi = await createControlApi({
    functions,
    readMetrics: ({ uid }) => {
      const dispatcher = registry.byUid(uid)?.existingDispatcher;
      return metrics.snapshot(uid, { inFlight: dispatcher?.inFlight ?? 0, replicas: dispatcher?.replicas ?? 0 });
    },
    readScaling: ({ uid }) => registry.byUid(uid)!.dispatcher().scaling(),
    logs,
    queues,
    runtimes: () => provider.runtimes(),
    readiness,
    scrape: () =>
      renderExposition({
        version: machine.version,
        functions: [...registry.entries()].map((entry) => describeFunction(entry, metrics)),
        pools: [],
        degraded: readiness().degraded,
        taskFailures: tasks.failures,
      }),
    checkCron: () => undefined,
    clock,
    onInternalError: (error, requestId) => log.error({ err: error, requestId }, "request failed"),
  });
  const gateway = new Gateway({
    clock,
    guard: new RequestGuard({ allowedHosts: config.allowedHosts, allowedOrigins: config.allowedOrigins, enforced: !config.insecureNoAuth }),
    registry,
    control,
    forwarding: new Forwarding(config.trustedProxies, config.tlsCertFile === undefined ? "http" : "https"),
    onRequestError: (error, requestId) => {
      if (error.code === "INTERNAL") log.error({ err: error.cause ?? error, requestId }, "request failed");
    },
  });
  const front = new Front({
    hosts: config.hosts,
    port: config.port,
    keepAliveTimeoutMs: config.keepAliveTimeoutMs,
    tls: readTls(config),
    handle: (req, res) => gateway.handle(req, res),
  });
  const addresses = await front.start();
  await metrics.load();
  await functions.load();
  syncTriggers();
  provider.start();
  fleet.start();
  state = "ready";

  return {
    facts: {
      version: machine.version,
      addresses,
      secure: config.tlsCertFile !== undefined,
      dataFolder: config.dataFolder,
      runtimes: provider.runtimes(),
      sandbox: sandbox.strength,
      queues: queues.kind === "embedded" ? "embedded, durable (--amqp-url names a RabbitMQ instead)" : "RabbitMQ",
    },
    async stop() {
      state = "draining";
      const deadlineMs = config.shutdownTimeoutMs;
      front.stopListening();
      gateway.drain();
      functions.drain();
      deployer.stop();
      control.endStreams();
      await Promise.all([queueTriggers.stop({ deadlineMs }), fleet.settle(deadlineMs)]);
      fleet.stop();
      fleet.rejectQueued(
        new KsError("DRAINING", { message: "The server shut down before the call got a place", details: { phase: "queued" } }),
      );
      await provider.stop({ deadlineMs: 0 });
      await go?.stop();
      await front.close(CLOSE_GRACE_MS);
      await queues.stop({ deadlineMs: 1000 });
      await control.close();
      await metrics.stop();
      await logs.stop();
      await tasks.drain();
      await store.stop();
    },
  };
}

/** amqplib is loaded only where there is a broker. */
async function openQueues(amqpUrl: string | undefined, client: SqliteClient, log: Logger): Promise<QueueDriver> {
  if (amqpUrl === undefined) return openEmbeddedQueues({ client, log, clock: systemClock });
  const { createAmqpQueues } = await import("../queue/amqp/driver.ts");
  return createAmqpQueues({ url: amqpUrl, log, clock: systemClock });
}

function* existingDispatchers(registry: FunctionRegistry): Generator<Dispatcher> {
  for (const entry of registry.entries()) if (entry.existingDispatcher !== undefined) yield entry.existingDispatcher;
}

function describeFunction(entry: FunctionEntry, metrics: MetricsRegistry) {
  const dispatcher = entry.existingDispatcher;
  return {
    name: entry.stored.spec.name,
    counters: metrics.peek(entry.stored.uid),
    queued: dispatcher?.queued ?? 0,
    inFlight: dispatcher?.inFlight ?? 0,
    replicas: dispatcher?.replicas ?? 0,
  };
}

/** What is kept waiting: the sizes that were said, and the default for the documented runtimes that are there. */
function buildPools(config: Config, catalogue: ReturnType<typeof buildCatalogue>) {
  const sizes = new Map<string, { runtime: string; memoryMiB: number; size: number }>();
  for (const runtime of DOCUMENTED_RUNTIMES) sizes.set(`${runtime}@256`, { runtime, memoryMiB: 256, size: config.poolSize });
  for (const { runtime, memoryMiB = 256, size } of config.pools) sizes.set(`${runtime}@${memoryMiB}`, { runtime, memoryMiB, size });
  return [...sizes.values()]
    .filter(({ runtime, size }) => size > 0 && catalogue.get(runtime)?.installed !== undefined)
    .map(({ runtime, memoryMiB, size }) => ({ replicaClass: { runtime, memoryMiB, network: "outbound" as const }, size }));
}

function readTls(config: Config): { cert: Buffer; key: Buffer } | undefined {
  const { tlsCertFile, tlsKeyFile } = config;
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return undefined;
  return { cert: readFileSync(tlsCertFile), key: readFileSync(tlsKeyFile) };
}
