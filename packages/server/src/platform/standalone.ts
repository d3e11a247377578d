import { join } from "node:path";
import { setImmediate as immediate } from "node:timers/promises";
import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import type { ApiDependencies, Readiness } from "../api/dependencies.ts";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { Fleet } from "../dispatch/fleet.ts";
import { type FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import { Forwarding } from "../gateway/forwarding.ts";
import { Gateway } from "../gateway/gateway.ts";
import { BodyBudget } from "../http/body-budget.ts";
import { Front } from "../http/front.ts";
import { RequestGuard } from "../http/request-guard.ts";
import { WholeAnswers } from "../http/whole-answers.ts";
import type { PoolState } from "../instances/port.ts";
import { createFunctionLogs } from "../logs/function-logs.ts";
import { renderExposition } from "../metrics/exposition.ts";
import { MetricsRegistry } from "../metrics/registry.ts";
import { EMBEDDED_QUEUE_MODULE } from "../queue/sqlite/driver.ts";
import { createSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { TaskGroup } from "../task-group.ts";
import { validateCronSchedule } from "../triggers/cron-schedule.ts";
import { TriggerInvoker } from "../triggers/invoker.ts";
import { CallAdmission } from "../gateway/call-admission.ts";
import { BUDGETS_MODULE, SqliteBudgetStore } from "../security/sqlite/sqlite-budget-store.ts";
import { KEYS_MODULE, SqliteKeyStore } from "../security/sqlite/sqlite-key-store.ts";
import { Access } from "./access.ts";
import type { BannerFacts } from "./banner.ts";
import { CallRecorder } from "./call-recorder.ts";
import { DrainLog } from "./drain-log.ts";
import { FunctionOutput } from "./function-output.ts";
import { createFunctions } from "./functions.ts";
import { findLocalRuntimes } from "./local-runtimes.ts";
import type { Machine } from "./machine.ts";
import { openQueues } from "./queues.ts";
import { createTracer, existingDispatchers, liveFigures, readTls } from "./shared.ts";
import { Triggers } from "./triggers.ts";

/** Answers that are complete may take so long to leave. */
const CLOSE_GRACE_MS = 1000;
const LAST_SPANS_MS = 2000;
/** Of a function that was never called. */
const NO_USAGE = { gbSeconds: 0, invocations: 0 };

/** The running server of one machine. */
export interface Platform {
  facts: BannerFacts;
  stop(): Promise<void>;
}

/** Builds the graph of the standalone platform and starts it in order: what calls need first, the listener before the state is loaded. */
export async function startStandalone(config: Config, machine: Machine, log: Logger): Promise<Platform> {
  const clock = systemClock;
  const tasks = new TaskGroup(log);
  const { failpoint } = config;
  const opening = createSqliteStore({
    folder: config.dataFolder,
    modules: [EMBEDDED_QUEUE_MODULE, KEYS_MODULE, BUDGETS_MODULE],
    onFatal: machine.onFatal,
    ...(failpoint === undefined ? {} : { failpoint }),
  });
  // A data folder in use is told before anything else is begun.
  await Promise.race([opening, immediate()]);
  // Beside each other: the store checks its files in a thread of its own, other processes make the network and try the sandbox.
  const [store, runtimes, { createControlApi }] = await Promise.all([
    opening,
    findLocalRuntimes(config, machine, clock, log),
    import("../api/control-api.ts"),
  ]);
  const queues = await openQueues(config.amqpUrl, store.client, clock, log);
  const tracer = await createTracer(config, machine, log);
  const logs = createFunctionLogs({
    folder: join(config.dataFolder, "logs"),
    clock,
    onWriteError: (error, uid) => log.warn({ err: error, uid }, "function log cannot be written"),
  });
  const prices = { perGbSecond: config.costPerGbSecond, perInvocation: config.costPerInvocation };
  const metrics = new MetricsRegistry({ store, clock, tasks, prices });
  const registry = new FunctionRegistry();
  const fleet = new Fleet(clock, { list: () => existingDispatchers([...registry.entries(), ...functions.deleting()]) });
  const provider = runtimes.createProvider({
    output: new FunctionOutput(logs),
    idleReplicas: () => fleet.idleReplicas(),
    yieldingReplicas: (uid) => registry.byUid(uid)?.existingDispatcher?.yieldingReplicas() ?? [],
  });
  const access = new Access({
    config,
    clock,
    keyStore: new SqliteKeyStore(store.client),
    budgetStore: new SqliteBudgetStore(store.client),
    registry,
    usageOf: (uid) => metrics.peek(uid) ?? NO_USAGE,
    tasks,
    log,
  });
  const checkBudget = (entry: FunctionEntry): void => access.checkBudget(entry);
  const recorder = new CallRecorder({ clock, metrics, tracer, budgets: access.budgets });
  const invoker = new TriggerInvoker({ clock, registry, tracer, checkBudget });
  const triggers = new Triggers({ registry, invoker, store, queues, clock, tasks, log });
  const onTriggersChanged = (): void => triggers.sync();
  const { service: functions, deployer } = createFunctions({
    config,
    clock,
    store,
    registry,
    provider,
    metrics,
    logs,
    recorder,
    tasks,
    log,
    onTriggersChanged,
    onDeleted: (uid) => tasks.run("remove budget", () => access.budgets.remove(uid)),
  });

  let state: Readiness["state"] = "starting";
  const degraded = (): string[] => [
    ...provider.degraded(),
    ...(store.writable ? [] : ["store"]),
    ...(queues.connected ? [] : ["broker"]),
    ...access.degraded(),
  ];
  const bodies = new BodyBudget(config.maxBodiesMiB * 1024 * 1024);
  const forwarding = new Forwarding(config.trustedProxies, config.tlsCertFile === undefined ? "http" : "https");
  const dependencies: ApiDependencies = {
    functions,
    access: access.control,
    keys: access.keys,
    takersOf: (queue) => registry.queueTakers.of(queue),
    clientAddress: (request) => forwarding.clientAddress(request),
    bodies,
    readMetrics: ({ uid }) => {
      const entry = registry.byUid(uid) ?? [...functions.deleting()].find(({ stored }) => stored.uid === uid);
      return metrics.snapshot(uid, liveFigures(entry?.existingDispatcher));
    },
    readScaling: (stored) => registry.require(stored.spec.name).dispatcher().scaling(),
    readCron: ({ uid }, limit) => triggers.cronOf(uid, limit),
    logs,
    queues,
    runtimes: () => provider.runtimes(),
    readiness: async () => ({ state, degraded: degraded(), facts: await readinessFacts(await provider.poolState()) }),
    async scrape() {
      const pools = await provider.poolState();
      const scraped = [...registry.entries()].map(({ stored, existingDispatcher }) => ({
        name: stored.spec.name,
        counters: metrics.peek(stored.uid),
        queued: existingDispatcher?.queued ?? 0,
        ...liveFigures(existingDispatcher),
      }));
      const { version } = machine;
      return renderExposition({ version, functions: scraped, pools, degraded: degraded(), taskFailures: tasks.failures, prices });
    },
    checkCron: validateCronSchedule,
    clock,
    onInternalError: (error, requestId) => log.error({ err: error, requestId }, "request failed"),
  };
  const readinessFacts = async (pools: readonly PoolState[]): Promise<Record<string, unknown>> => {
    const { driver, network, memory } = runtimes.sandbox.strength;
    const { replicas, memoryMiB, limits } = provider.use;
    return { sandbox: { driver, network, memory }, pools, capacity: { replicas, memoryMiB, ...limits } };
  };
  const control = await createControlApi(dependencies);
  const gateway = new Gateway({
    clock,
    guard: new RequestGuard({
      allowedHosts: config.allowedHosts,
      allowedOrigins: config.allowedOrigins,
      enforced: !config.insecureNoAuth && !config.auth,
    }),
    registry,
    control,
    forwarding,
    admission: new CallAdmission({
      clock,
      access: access.control,
      limits: access.limits,
      checkBudget,
      onRefused: (entry, error) => recorder.refuse(entry, error),
    }),
    bodies,
    answers: new WholeAnswers(config.keepAliveTimeoutMs),
    tracer,
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

  const addresses = await front.start().catch(async (error: unknown) => {
    await runtimes.stop();
    await runtimes.sandbox.stop();
    throw error;
  });
  await metrics.load();
  await access.start();
  await functions.load();
  await triggers.start();
  provider.start();
  fleet.start();
  gateway.open();
  state = "ready";
  tasks.run("ask programs again", () => runtimes.recheck());
  tasks.run("prune function logs", () => logs.prune(new Set([...registry.entries()].map(({ stored }) => stored.uid))));

  return {
    facts: {
      version: machine.version,
      addresses,
      secure: config.tlsCertFile !== undefined,
      dataFolder: config.dataFolder,
      runtimes: provider.runtimes(),
      sandbox: runtimes.sandbox.strength,
      auth: config.auth,
      newAdminKey: access.newAdminKey,
      queues: queues.kind === "embedded" ? "embedded, durable (--amqp-url names a RabbitMQ instead)" : "RabbitMQ",
    },
    async stop() {
      state = "draining";
      const deadlineMs = config.shutdownTimeoutMs;
      const drainLog = new DrainLog({ clock, log, timeoutMs: deadlineMs });
      drainLog.begin(fleet.calls);
      front.stopListening();
      gateway.drain();
      functions.drain();
      deployer.stop();
      control.endStreams();
      await Promise.all([triggers.stop({ deadlineMs }), fleet.settle(deadlineMs)]);
      drainLog.cut(fleet.calls);
      fleet.stop();
      fleet.rejectQueued(
        new KsError("DRAINING", { message: "The server shut down before the call got a place", details: { phase: "queued" } }),
      );
      await provider.stop({ deadlineMs: 0 });
      await runtimes.stop();
      await front.close(CLOSE_GRACE_MS);
      await queues.stop({ deadlineMs: CLOSE_GRACE_MS });
      await control.close();
      await metrics.stop();
      await access.stop();
      await tasks.drain();
      await logs.stop();
      await tracer?.stop({ deadlineMs: LAST_SPANS_MS });
      await store.stop();
      drainLog.end();
    },
  };
}
