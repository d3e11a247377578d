import { join } from "node:path";
import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import type { ApiDependencies, Readiness } from "../api/dependencies.ts";
import { createControlApi } from "../api/control-api.ts";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { Fleet } from "../dispatch/fleet.ts";
import { ClusterFunctionService } from "../functions/cluster-function-service.ts";
import { MissingFunctions } from "../functions/missing-functions.ts";
import { routeKeys } from "../functions/path-admission.ts";
import { Reconciler } from "../functions/reconciler.ts";
import { type FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import { CallAdmission } from "../gateway/call-admission.ts";
import { Forwarding } from "../gateway/forwarding.ts";
import { Gateway } from "../gateway/gateway.ts";
import { BodyBudget } from "../http/body-budget.ts";
import { Front } from "../http/front.ts";
import { RequestGuard } from "../http/request-guard.ts";
import { WholeAnswers } from "../http/whole-answers.ts";
import { ApiClient } from "../kubernetes/api-client.ts";
import { LeaderElection } from "../kubernetes/leader-election.ts";
import { type ProofKeys, SigningKeys } from "../kubernetes/signing-keys.ts";
import { createFunctionLogs, type FunctionLogs } from "../logs/function-logs.ts";
import { renderExposition } from "../metrics/exposition.ts";
import { MetricsRegistry } from "../metrics/registry.ts";
import { createAbsentQueues } from "../queue/absent.ts";
import type { QueueDriver } from "../queue/port.ts";
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
import { CallRecorder } from "./call-recorder.ts";
import { connectToCluster, describeSelf } from "./cluster.ts";
import { DrainLog } from "./drain-log.ts";
import { FunctionOutput } from "./function-output.ts";
import { createDeployer, createDispatcher, describeFunctions } from "./functions.ts";
import { createGateways } from "./gateways.ts";
import { LiveStatusLoop } from "./live-status.ts";
import type { Machine } from "./machine.ts";
import { createReplicas } from "./replicas.ts";
import { createTracer, existingDispatchers, liveFigures, readTls } from "./shared.ts";
import type { Platform } from "./standalone.ts";
import { SystemPort } from "./system-port.ts";
import { Triggers } from "./triggers.ts";

/** Answers that are complete may take so long to leave. */
const CLOSE_GRACE_MS = 1000;
const LAST_SPANS_MS = 2000;
const LEASE_NAME = "kube-serverless-leader";
const NO_USAGE = { gbSeconds: 0, invocations: 0 };
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
  const queues = await openBroker(config, log);
  const tracer = await createTracer(config, machine, log);
  const prices = { perGbSecond: config.costPerGbSecond, perInvocation: config.costPerInvocation };
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
  const openLogs = (name: string): FunctionLogs =>
    createFunctionLogs({
      folder: join(config.dataFolder, name),
      clock,
      onWriteError: (error, uid) => log.warn({ err: error, uid }, "function log cannot be written"),
    });
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
    usageOf: (uid) => metrics.peek(uid) ?? NO_USAGE,
    tasks,
    log,
  });
  const checkBudget = (entry: FunctionEntry): void => access.checkBudget(entry);
  const calls = new CallRecorder({ clock, metrics, tracer, budgets: access.budgets });
  const recorder: Pick<CallRecorder, "record"> = {
    record(entry, call, error) {
      calls.record(entry, call, error);
      if (error?.code === "FUNCTION_OUT_OF_MEMORY") functions.report(entry.stored.uid, "OutOfMemory", error.message);
    },
  };
  const cronStore = new KubernetesCronStore({ client, resources, nameOf: (uid) => functions.byUid(uid)?.name });
  const invoker = new TriggerInvoker({ clock, registry, tracer, checkBudget });
  const triggers = new Triggers({ registry, invoker, store: cronStore, queues, clock, tasks, log });
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
  const service = new ClusterFunctionService({
    functions,
    registry,
    runtimes: () => provider.runtimes(),
    installHint: (runtime) => provider.installHint(runtime),
    ...described,
    isKnownEverywhere: (uid, generation) => gateways.isKnownEverywhere(uid, generation),
    untilEnded: (uid) => untilEnded(uid),
  });
  const untilEnded = gateways.askAll("ended", (uid) => service.untilEndedHere(uid));
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
  gateways.onOwnersChanged(() => reconciler.ownersChanged());
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

  let state: Readiness["state"] = "starting";
  const degraded = (): string[] => [
    ...provider.degraded(),
    ...(functions.available ? [] : ["api-server"]),
    ...(queues.connected || config.amqpUrl === undefined ? [] : ["broker"]),
    ...access.degraded(),
  ];
  const bodies = new BodyBudget(config.maxBodiesMiB * 1024 * 1024);
  const forwarding = new Forwarding(config.trustedProxies, config.tlsCertFile === undefined ? "http" : "https");
  const dependencies: ApiDependencies = {
    functions: service,
    access: access.control,
    keys: access.keys,
    takersOf: (queue) => registry.queueTakers.of(queue),
    clientAddress: (request) => forwarding.clientAddress(request),
    bodies,
    readMetrics: ({ uid }) => readMetrics(uid),
    readScaling: ({ uid }) => readScaling(uid),
    readCron: ({ uid }, limit) => triggers.cronOf(uid, limit),
    logs,
    queues,
    runtimes: () => provider.runtimes(),
    readiness: async () => ({
      state,
      degraded: degraded(),
      facts: { pools: await provider.poolState(), gateway: self.name, gateways: gateways.members, leads: election.leads },
    }),
    async scrape() {
      const scraped = [...registry.entries()].map(({ stored, existingDispatcher }) => ({
        name: stored.spec.name,
        counters: metrics.peek(stored.uid),
        queued: existingDispatcher?.queued ?? 0,
        ...liveFigures(existingDispatcher),
      }));
      const { version } = machine;
      const pools = await provider.poolState();
      return renderExposition({ version, functions: scraped, pools, degraded: degraded(), taskFailures: tasks.failures, prices });
    },
    checkCron: validateCronSchedule,
    clock,
    onInternalError: (error, requestId) => log.error({ err: error, requestId }, "request failed"),
  };
  const control = await createControlApi(dependencies);
  const missing = new MissingFunctions(clock, functions, registry);
  const gateway = new Gateway({
    clock,
    guard: new RequestGuard({
      allowedHosts: config.allowedHosts,
      allowedOrigins: config.allowedOrigins,
      enforced: !config.insecureNoAuth && !config.auth,
    }),
    registry,
    findMissing: (name) => missing.find(name),
    control,
    forwarding,
    admission: new CallAdmission({
      clock,
      access: access.control,
      limits: access.limits,
      checkBudget,
      onRefused: (entry, error) => calls.refuse(entry, error),
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
  const systemPort = new SystemPort(control);

  const addresses = await front.start();
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
  gateway.open();
  state = "ready";
  gateways.setReady();
  tasks.run("prune function logs", () => logs.prune(new Set([...registry.entries()].map(({ stored }) => stored.uid))));

  return {
    facts: {
      version: machine.version,
      addresses,
      secure: config.tlsCertFile !== undefined,
      dataFolder: config.dataFolder,
      runtimes: provider.runtimes(),
      sandbox: undefined,
      auth: config.auth,
      newAdminKey: access.newAdminKey,
      queues: config.amqpUrl === undefined ? "none (--amqp-url names a RabbitMQ)" : "RabbitMQ",
    },
    async stop() {
      state = "draining";
      const deadlineMs = config.shutdownTimeoutMs;
      const drainLog = new DrainLog({ clock, log, timeoutMs: deadlineMs });
      drainLog.begin(fleet.calls);
      // The others take over first, so that what still comes here can be passed on.
      await gateways.drain();
      front.stopListening();
      gateway.drain();
      service.drain();
      reconciler.stop();
      deployer.stop();
      control.endStreams();
      await election.stop();
      await Promise.all([triggers.stop({ deadlineMs }), fleet.settle(deadlineMs), gateways.settle(deadlineMs)]);
      drainLog.cut(fleet.calls);
      fleet.stop();
      live.stop();
      fleet.rejectQueued(
        new KsError("DRAINING", { message: "The server shut down before the call got a place", details: { phase: "queued" } }),
      );
      await replicas.stop();
      await front.close(CLOSE_GRACE_MS);
      await queues.stop({ deadlineMs: CLOSE_GRACE_MS });
      await control.close();
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

/** amqplib is loaded only where there is a broker. */
async function openBroker({ amqpUrl: url }: Config, log: Logger): Promise<QueueDriver> {
  if (url === undefined) return createAbsentQueues(NO_BROKER);
  const { createAmqpQueues } = await import("../queue/amqp/driver.ts");
  return createAmqpQueues({ url, log, clock: systemClock });
}
