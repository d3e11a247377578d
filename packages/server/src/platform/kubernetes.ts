import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { Fleet } from "../dispatch/fleet.ts";
import { ClusterFunctionService, type LiveView } from "../functions/cluster-function-service.ts";
import { MissingFunctions } from "../functions/missing-functions.ts";
import { routeKeys } from "../functions/path-admission.ts";
import { PathHolds } from "../functions/path-holds.ts";
import { PathKeeper } from "../functions/path-keeper.ts";
import { Reconciler } from "../functions/reconciler.ts";
import { FunctionRegistry } from "../functions/registry.ts";
import { ApiClient } from "../kubernetes/api-client.ts";
import { LeaderElection } from "../kubernetes/leader-election.ts";
import { type ProofKeys, SigningKeys } from "../kubernetes/signing-keys.ts";
import type { FunctionLogs } from "../logs/function-logs.ts";
import { MetricsRegistry } from "../metrics/registry.ts";
import { createAbsentQueues } from "../queue/absent.ts";
import { MemoryBudgetStore } from "../security/budget/memory-budget-store.ts";
import { MemoryKeyStore } from "../security/keys/memory-key-store.ts";
import { KubernetesCronStore } from "../store/kubernetes/cron-store.ts";
import { KubernetesFunctions } from "../store/kubernetes/kubernetes-functions.ts";
import { resourcesIn } from "../store/kubernetes/objects.ts";
import type { StoredFunction } from "../store/port.ts";
import { TaskGroup } from "../task-group.ts";
import { validateCronSchedule } from "../triggers/cron-schedule.ts";
import { TriggerInvoker } from "../triggers/invoker.ts";
import { Access } from "./access.ts";
import { openBroker } from "./broker.ts";
import { CallRecorder } from "./call-recorder.ts";
import { connectToCluster, describeSelf } from "./cluster.ts";
import { createClusterScrape } from "./cluster-scrape.ts";
import { Doors } from "./doors.ts";
import { DrainLog } from "./drain-log.ts";
import { FunctionOutput } from "./function-output.ts";
import { createDeployer, createDispatcher, describeFunctions } from "./functions.ts";
import { createGateways } from "./gateways.ts";
import { LiveStatusLoop } from "./live-status.ts";
import type { Machine } from "./machine.ts";
import { createReplicas } from "./replicas.ts";
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
import type { Platform } from "./standalone.ts";
import { SystemPort } from "./system-port.ts";
import { Triggers } from "./triggers.ts";

const LEASE_NAME = "kube-serverless-leader";
const NO_BROKER = "No broker is named: give the gateways --amqp-url with a RabbitMQ";

/** Builds the graph of one gateway of a cluster and starts it in order: the listener first, then the functions that are declared. */
export async function startKubernetes(config: Config, machine: Machine, log: Logger): Promise<Platform> {
  const clock = systemClock;
  const tasks = new TaskGroup(log);
  const self = describeSelf(config);
  const client = new ApiClient(await connectToCluster(config, clock));
  const resources = resourcesIn(config.functionsNamespace);
  const functions = new KubernetesFunctions({
    client,
    resources,
    clock,
    log,
    tasks,
    checkCron: validateCronSchedule,
    instance: self.name,
    gatewayName: `${config.gatewayService}.${config.systemNamespace}.svc.${config.clusterDomain}`,
    admittedPaths: (stored) => admittedPathsOf(stored),
    endpoint: (name) => `${name}.${config.functionsNamespace}.svc.${config.clusterDomain}`,
  });
  const queues = config.amqpUrl === undefined ? createAbsentQueues(NO_BROKER) : await openBroker(config.amqpUrl, clock, log);
  const tracer = await createTracer(config, machine, log);
  const prices = pricesOf(config);
  const registry = new FunctionRegistry();
  const { functionsNamespace, systemNamespace } = config;
  const signing = new SigningKeys({ client, clock, systemNamespace, functionsNamespace, log });
  const keys = (): ProofKeys => signing.current;
  const gateways = createGateways({
    client,
    config,
    self,
    clock,
    log,
    keys,
    registry,
    onForwardEnded: (entry, call, error) => calls.recordForwarded(entry, call, error),
  });
  const counters = gateways.shareCounters({
    tasks,
    prices,
    ownOf: (uid) => metrics.peek(uid),
    writtenOf: (uid) => functions.catalogue.byUid(uid)?.status.counters,
    write: (uid, row) => functions.noteLive(uid, { counters: row }),
  });
  const metrics: MetricsRegistry = new MetricsRegistry({ store: counters, clock, tasks, prices });
  const openLogs = (name: string): FunctionLogs => openFunctionLogs(config, name, clock, log);
  const logs = gateways.shareLogs({ own: openLogs("logs"), inherited: openLogs("inherited-logs"), clock, tasks });
  const isOwner = (uid: string): boolean => gateways.isOwner(uid);
  const fleet = new Fleet(clock, {
    list: () => [...existingDispatchers([...registry.entries(), ...service.deleting()]), ...gateways.retired()],
  });
  const replicas = await createReplicas({
    config,
    machine,
    clock,
    log,
    client,
    gatewayId: self.name,
    keys,
    isOwner,
    output: new FunctionOutput(logs),
    idleReplicas: () => fleet.idleReplicas(),
    yieldingReplicas: (uid) => registry.byUid(uid)?.existingDispatcher?.yieldingReplicas() ?? [],
  });
  const { provider } = replicas;
  const access = new Access({
    config,
    clock,
    keyStore: new MemoryKeyStore(),
    budgetStore: new MemoryBudgetStore(),
    registry,
    metrics,
    tasks,
    log,
  });
  const calls = new CallRecorder({ clock, metrics, tracer, budgets: access.budgets });
  const recorder: Pick<CallRecorder, "record"> = {
    record(entry, call, error) {
      calls.record(entry, call, error);
      if (error?.code === "FUNCTION_OUT_OF_MEMORY") functions.report(entry.stored.uid, "OutOfMemory", error.message);
    },
  };
  const cronStore = new KubernetesCronStore({ client, resources, nameOf: (uid) => functions.byUid(uid)?.name });
  const invoker = new TriggerInvoker({ clock, registry, tracer, checkBudget: (entry) => access.checkBudget(entry) });
  const triggers = new Triggers({ registry, invoker, store: cronStore, queues, clock, tasks, log, consumes: isOwner });
  const onTriggersChanged = (): void => triggers.sync();
  const onDeleted = (uid: string): void => {
    cronStore.forget(uid);
    live.forget(uid);
    gateways.forget(uid);
    counters.remove(uid);
    tasks.run("remove budget", () => access.budgets.remove(uid));
  };
  const parts = { config, clock, store: functions, registry, provider, metrics, logs, recorder, tasks, log, onTriggersChanged, onDeleted };
  const { deployer } = createDeployer({
    ...parts,
    onDeployed: ({ uid, revision, status: { state, message = "" } }) =>
      state === "failed"
        ? functions.report(uid, "DeployFailed", message)
        : functions.report(uid, "Deployed", `Revision ${revision} serves`),
  });
  const described = describeFunctions(parts);
  const { lastInvocation } = described;
  const live = new LiveStatusLoop({ clock, functions, entries: () => registry.entries(), isOwner, lastInvocation });
  const holds = new PathHolds(clock, registry);
  const paths = new PathKeeper({ holds, registry, functions, askOne: (name, answer) => gateways.askOne(name, answer) });
  const service = new ClusterFunctionService({
    functions,
    paths,
    registry,
    runtimes: () => provider.runtimes(),
    installHint: (runtime) => provider.installHint(runtime),
    ...described,
    askLive: (uid) => askLive(uid),
    isKnownEverywhere: (uid, generation) => gateways.isKnownEverywhere(uid, generation),
    untilEnded: async (uid) => void (await untilEnded(uid)),
    untilNameIsFree: async (uid) => void (await untilNameIsFree(uid)),
    codeOfDeletion: async (name) => (await codesOfDeletion(name)).find((code) => code !== null) ?? undefined,
  });
  const askOwnersLive = gateways.askOwner("live", (uid) => service.liveHere(uid));
  const askLive = async (uid: string): Promise<LiveView | undefined> => {
    try {
      return await askOwnersLive(uid);
    } catch {
      // Its status in the cluster has to do.
      return undefined;
    }
  };
  const untilEnded = gateways.askAll("ended", (uid) => service.untilEndedHere(uid));
  const untilNameIsFree = gateways.askAll("name is free", (uid) => service.untilNameIsFreeHere(uid));
  const codesOfDeletion = gateways.askAll("code of a deletion", (name) => service.codeOfDeletionHere(name) ?? null);
  const reconciler = new Reconciler({
    clock,
    tasks,
    registry,
    deployer,
    functions,
    isOwner,
    createDispatcher: (entry) => createDispatcher(entry, deployer, parts),
    ...(gateways.createEntrance === undefined ? {} : { createEntrance: (entry) => gateways.createEntrance!(entry) }),
    onTriggersChanged,
    async onGained(entry) {
      const served = deployer.servedOf(entry.stored);
      if (served === undefined) return;
      const adopted = await replicas.adopt(served.revision);
      // A dispatcher that is made now serves from its beginning.
      if (adopted.length > 0 || entry.existingDispatcher !== undefined) entry.dispatcher().serve(served, adopted);
    },
    onLost(entry) {
      gateways.retire(entry, replicas.goOn);
      tasks.run("let go of replicas", () => replicas.release(entry.stored.uid));
    },
    onGone: (entry) => service.onGone(entry),
  });
  gateways.onOwnersChanged(() => {
    reconciler.ownersChanged();
    triggers.sync();
  });
  const readMetrics = gateways.askOwner("metrics", (uid) => counters.snapshot(uid, liveFigures(registry.byUid(uid)?.existingDispatcher)));
  const readScaling = gateways.askOwner("scaling", (uid) => {
    const entry = registry.byUid(uid);
    if (entry === undefined) throw new KsError("FUNCTION_NOT_FOUND");
    return entry.dispatcher().scaling();
  });
  const election = new LeaderElection({
    client,
    namespace: config.systemNamespace,
    name: LEASE_NAME,
    identity: self.identity,
    clock,
    log,
    onElected() {
      replicas.setLeading(true);
      tasks.run("start cron", () => triggers.startCron());
    },
    onLost() {
      replicas.setLeading(false);
      tasks.run("stop cron", () => triggers.stopCron({ deadlineMs: config.shutdownTimeoutMs }));
    },
  });

  const scrapeCluster = createClusterScrape({ registry, gateways, counters });
  const missing = new MissingFunctions(clock, functions, registry);
  const doors = await Doors.create({
    config,
    machine,
    clock,
    log,
    tasks,
    tracer,
    registry,
    functions: service,
    provider,
    metrics,
    readMetrics,
    scrapeFunctions: scrapeCluster,
    readScaling: ({ uid }) => readScaling(uid),
    recorder: calls,
    access,
    triggers,
    logs,
    queues,
    away: () => [...(functions.available ? [] : ["api-server"]), ...(queues.connected || config.amqpUrl === undefined ? [] : ["broker"])],
    facts: (pools) => ({ pools, gateway: self.name, gateways: gateways.members, leads: election.leads }),
    findMissing: (name) => missing.find(name),
  });

  const systemPort = new SystemPort(doors.control, () => doors.scrapeOwn());

  const addresses = await doors.start();
  await systemPort.start(self.systemHost, config.systemPort);
  await signing.start();
  await replicas.start();
  await gateways.start();
  await functions.start(reconciler);
  await metrics.load();
  await access.start();
  triggers.startQueues();
  fleet.start();
  live.start();
  election.start();
  doors.open();
  gateways.setReady();
  tasks.run("prune function logs", () => logs.prune(new Set([...registry.entries()].map(({ stored }) => stored.uid))));

  return {
    facts: {
      ...doors.describe(addresses),
      sandbox: undefined,
      queues: config.amqpUrl === undefined ? "none (--amqp-url names a RabbitMQ)" : "RabbitMQ",
    },
    async stop() {
      doors.beginDraining();
      const deadlineMs = config.shutdownTimeoutMs;
      const drainLog = new DrainLog({ clock, log, timeoutMs: deadlineMs });
      drainLog.begin(fleet.calls);
      // The others take over first, so that what still comes here can be passed on.
      await gateways.drain();
      doors.shut();
      service.drain();
      reconciler.stop();
      deployer.stop();
      await election.stop();
      await Promise.all([triggers.stop({ deadlineMs }), fleet.settle(deadlineMs), gateways.settle(deadlineMs)]);
      drainLog.cut(fleet.calls);
      fleet.stop();
      live.stop();
      fleet.rejectQueued(shutDownError());
      await replicas.stop();
      await doors.close();
      await queues.stop({ deadlineMs: QUEUES_GRACE_MS });
      await metrics.stop();
      await counters.handOver();
      await access.stop();
      await functions.stop();
      await tasks.drain();
      await logs.stop();
      await tracer?.stop({ deadlineMs: LAST_SPANS_MS });
      await gateways.stop();
      signing.stop();
      await systemPort.stop();
      client.stop();
      drainLog.end();
    },
  };
}

/** Paths that lead to it now; those of a spec that was refused do not. */
function admittedPathsOf({ uid, spec, served }: StoredFunction): string[] {
  return [...new Set([...routeKeys(uid, spec), ...(served === undefined ? [] : routeKeys(uid, served.spec))])];
}
