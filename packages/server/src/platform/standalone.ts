import { setImmediate as immediate } from "node:timers/promises";
import type { Logger } from "pino";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { Fleet } from "../dispatch/fleet.ts";
import { FunctionRegistry } from "../functions/registry.ts";
import { MetricsRegistry } from "../metrics/registry.ts";
import { EMBEDDED_QUEUE_MODULE } from "../queue/sqlite/driver.ts";
import { createSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { TaskGroup } from "../task-group.ts";
import { TriggerInvoker } from "../triggers/invoker.ts";
import { BUDGETS_MODULE, SqliteBudgetStore } from "../security/sqlite/sqlite-budget-store.ts";
import { KEYS_MODULE, SqliteKeyStore } from "../security/sqlite/sqlite-key-store.ts";
import { Access } from "./access.ts";
import type { BannerFacts } from "./banner.ts";
import { CallRecorder } from "./call-recorder.ts";
import { Doors } from "./doors.ts";
import { DrainLog } from "./drain-log.ts";
import { FunctionOutput } from "./function-output.ts";
import { createFunctions } from "./functions.ts";
import { findLocalRuntimes } from "./local-runtimes.ts";
import type { Machine } from "./machine.ts";
import { openQueues } from "./queues.ts";
import {
  createTracer,
  existingDispatchers,
  LAST_SPANS_MS,
  liveFigures,
  openFunctionLogs,
  pricesOf,
  QUEUES_GRACE_MS,
  shutDownError,
} from "./shared.ts";
import { Triggers } from "./triggers.ts";

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
  // Beside each other: the store checks its files in a thread of its own, other processes make the network and try the sandbox, and the
  // control API, which the doors want, is loaded.
  const [store, runtimes] = await Promise.all([opening, findLocalRuntimes(config, machine, clock, log), import("../api/control-api.ts")]);
  const queues = await openQueues(config.amqpUrl, store.client, clock, log);
  const tracer = await createTracer(config, machine, log);
  const logs = openFunctionLogs(config, "logs", clock, log);
  const prices = pricesOf(config);
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
    metrics,
    tasks,
    log,
  });
  const recorder = new CallRecorder({ clock, metrics, tracer, budgets: access.budgets });
  const invoker = new TriggerInvoker({ clock, registry, tracer, checkBudget: (entry) => access.checkBudget(entry) });
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

  const doors = await Doors.create({
    config,
    machine,
    clock,
    log,
    tasks,
    tracer,
    registry,
    functions,
    provider,
    metrics,
    readMetrics(uid) {
      const entry = registry.byUid(uid) ?? [...functions.deleting()].find(({ stored }) => stored.uid === uid);
      return metrics.snapshot(uid, liveFigures(entry?.existingDispatcher));
    },
    readScaling: (stored) => registry.require(stored.spec.name).dispatcher().scaling(),
    recorder,
    access,
    triggers,
    logs,
    queues,
    away: () => [...(store.writable ? [] : ["store"]), ...(queues.connected ? [] : ["broker"])],
    facts(pools) {
      const { driver, network, memory } = runtimes.sandbox.strength;
      const { replicas, memoryMiB, limits } = provider.use;
      return { sandbox: { driver, network, memory }, pools, capacity: { replicas, memoryMiB, ...limits } };
    },
  });

  const addresses = await doors.start().catch(async (error: unknown) => {
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
  doors.open();
  tasks.run("ask programs again", () => runtimes.recheck());
  tasks.run("prune function logs", () => logs.prune(new Set([...registry.entries()].map(({ stored }) => stored.uid))));

  return {
    facts: {
      ...doors.describe(addresses),
      sandbox: runtimes.sandbox.strength,
      queues: queues.kind === "embedded" ? "embedded, durable (--amqp-url names a RabbitMQ instead)" : "RabbitMQ",
    },
    async stop() {
      doors.beginDraining();
      const deadlineMs = config.shutdownTimeoutMs;
      const drainLog = new DrainLog({ clock, log, timeoutMs: deadlineMs });
      drainLog.begin(fleet.calls);
      doors.shut();
      functions.drain();
      deployer.stop();
      await Promise.all([triggers.stop({ deadlineMs }), fleet.settle(deadlineMs)]);
      drainLog.cut(fleet.calls);
      fleet.stop();
      fleet.rejectQueued(shutDownError());
      await provider.stop({ deadlineMs: 0 });
      await runtimes.stop();
      await doors.close();
      await queues.stop({ deadlineMs: QUEUES_GRACE_MS });
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
