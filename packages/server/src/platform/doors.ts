import type { FunctionMetrics } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import type { ApiDependencies, Readiness } from "../api/dependencies.ts";
import type { ControlApi } from "../api/control-api.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { defined } from "../defined.ts";
import type { FunctionService } from "../functions/port.ts";
import type { FunctionEntry, FunctionRegistry } from "../functions/registry.ts";
import { CallAdmission } from "../gateway/call-admission.ts";
import { Forwarding } from "../gateway/forwarding.ts";
import { Gateway } from "../gateway/gateway.ts";
import { BodyBudget } from "../http/body-budget.ts";
import { Front } from "../http/front.ts";
import { type FunctionHosts, RequestGuard } from "../http/request-guard.ts";
import { WholeAnswers } from "../http/whole-answers.ts";
import type { PoolState, ReplicaProvider } from "../instances/port.ts";
import type { FunctionLogs } from "../logs/function-logs.ts";
import { renderExposition, type ScrapedFunction } from "../metrics/exposition.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { QueueDriver } from "../queue/port.ts";
import type { TaskGroup } from "../task-group.ts";
import type { CallTracer } from "../telemetry/call-tracer.ts";
import { validateCronSchedule } from "../triggers/cron-schedule.ts";
import type { Access } from "./access.ts";
import type { BannerFacts } from "./banner.ts";
import type { CallRecorder } from "./call-recorder.ts";
import type { Machine } from "./machine.ts";
import { pricesOf, readTls, scrapedAs } from "./shared.ts";
import type { Triggers } from "./triggers.ts";

/** Answers that are complete may take so long to leave. */
const CLOSE_GRACE_MS = 1000;

export interface DoorParts extends Pick<ApiDependencies, "readScaling"> {
  config: Config;
  machine: Machine;
  clock: Clock;
  log: Logger;
  tasks: TaskGroup;
  tracer: CallTracer | undefined;
  registry: FunctionRegistry;
  functions: FunctionService;
  provider: Pick<ReplicaProvider, "runtimes" | "degraded" | "poolState">;
  metrics: Pick<MetricsRegistry, "peek">;
  readMetrics(uid: string): FunctionMetrics | Promise<FunctionMetrics>;
  recorder: Pick<CallRecorder, "refuse">;
  access: Access;
  triggers: Pick<Triggers, "cronOf">;
  logs: Pick<FunctionLogs, "query" | "follow">;
  queues: Pick<QueueDriver, "publish" | "stats">;
  /** Functions for `/metrics`; of the whole cluster where this is one of its gateways. @default those of this process */
  scrapeFunctions?(): Promise<readonly ScrapedFunction[]>;
  /** Names of what is away, beside replicas and access. */
  away(): string[];
  /** What `/ready` shows beside its state. */
  facts(pools: readonly PoolState[]): Readonly<Record<string, unknown>>;
  /** Where functions come from elsewhere: looks there for one that is not in memory. */
  findMissing?(name: string): Promise<FunctionEntry | undefined>;
}

/** Where requests come in, the same on every platform: the front, the gateway for calls, the control API for the rest. */
export class Doors {
  readonly control: ControlApi;
  readonly #parts: DoorParts;
  readonly #gateway: Gateway;
  readonly #front: Front;
  readonly #readiness: { state: Readiness["state"] };

  /** The control API is loaded only here: it is a good part of a start, and may be loading already. */
  static async create(parts: DoorParts): Promise<Doors> {
    const { config } = parts;
    const { createControlApi } = await import("../api/control-api.ts");
    const bodies = new BodyBudget(config.maxBodiesMiB * 1024 * 1024);
    const forwarding = new Forwarding(config.trustedProxies, config.tlsCertFile === undefined ? "http" : "https");
    const readiness: { state: Readiness["state"] } = { state: "starting" };
    const control = await createControlApi(apiDependencies(parts, bodies, forwarding, readiness));
    return new Doors(parts, control, createGateway(parts, control, bodies, forwarding), readiness);
  }

  private constructor(parts: DoorParts, control: ControlApi, gateway: Gateway, readiness: { state: Readiness["state"] }) {
    const { hosts, port, keepAliveTimeoutMs } = parts.config;
    this.#parts = parts;
    this.control = control;
    this.#gateway = gateway;
    this.#readiness = readiness;
    this.#front = new Front({
      hosts,
      port,
      keepAliveTimeoutMs,
      tls: readTls(parts.config),
      handle: (req, res) => gateway.handle(req, res),
    });
  }

  /** Listens; all but probes are told that the server starts. */
  start(): Promise<BannerFacts["addresses"]> {
    return this.#front.start();
  }

  /** `/metrics` of this process alone, for who asks each. */
  async scrapeOwn(): Promise<Iterable<string>> {
    return scrape(this.#parts, scrapeOwn(this.#parts));
  }

  /** For who has started the server, where it listens here. */
  describe(addresses: BannerFacts["addresses"]): Omit<BannerFacts, "sandbox" | "queues"> {
    const { config, machine, provider, access } = this.#parts;
    return {
      version: machine.version,
      addresses,
      secure: config.tlsCertFile !== undefined,
      dataFolder: config.dataFolder,
      runtimes: provider.runtimes(),
      auth: config.auth,
      newAdminKey: access.newAdminKey,
    };
  }

  /** The functions are loaded. */
  open(): void {
    this.#gateway.open();
    this.#readiness.state = "ready";
  }

  /** `/ready` says so; requests are still let in. */
  beginDraining(): void {
    this.#readiness.state = "draining";
  }

  /** Nothing new is let in; what is within goes on. */
  shut(): void {
    this.#front.stopListening();
    this.#gateway.drain();
    this.control.endStreams();
  }

  async close(): Promise<void> {
    await this.#front.close(CLOSE_GRACE_MS);
    await this.control.close();
  }
}

function degradedOf({ provider, away, access }: DoorParts): string[] {
  return [...provider.degraded(), ...away(), ...access.degraded()];
}

function apiDependencies(
  parts: DoorParts,
  bodies: BodyBudget,
  forwarding: Forwarding,
  readiness: Readonly<{ state: Readiness["state"] }>,
): ApiDependencies {
  const { clock, log, registry, functions, provider, access, triggers, logs, queues, readMetrics, readScaling, facts } = parts;
  return {
    functions,
    access: access.control,
    keys: access.keys,
    takersOf: (queue) => registry.queueTakers.of(queue),
    takersOfFamily: (queue) => registry.queueTakers.ofFamily(queue),
    clientAddress: (request) => forwarding.clientAddress(request),
    bodies,
    readMetrics: ({ uid }) => readMetrics(uid),
    readScaling,
    readCron: ({ uid }, limit) => triggers.cronOf(uid, limit),
    logs,
    queues,
    runtimes: () => provider.runtimes(),
    readiness: async () => ({ state: readiness.state, degraded: degradedOf(parts), facts: facts(await provider.poolState()) }),
    scrape: async () => scrape(parts, (await parts.scrapeFunctions?.()) ?? scrapeOwn(parts)),
    checkCron: validateCronSchedule,
    clock,
    onInternalError: (error, requestId) => log.error({ err: error, requestId }, "request failed"),
  };
}

/** What this process itself counts. */
function scrapeOwn({ registry, metrics }: DoorParts): ScrapedFunction[] {
  return [...registry.entries()].map((entry) => scrapedAs(entry, metrics.peek(entry.stored.uid)));
}

async function scrape(parts: DoorParts, functions: readonly ScrapedFunction[]): Promise<Iterable<string>> {
  const { config, machine, provider, tasks } = parts;
  const pools = await provider.poolState();
  const { version } = machine;
  return renderExposition({
    version,
    functions,
    pools,
    degraded: degradedOf(parts),
    taskFailures: tasks.failures,
    prices: pricesOf(config),
  });
}

function createGateway(parts: DoorParts, control: ControlApi, bodies: BodyBudget, forwarding: Forwarding): Gateway {
  const { config, clock, log, registry, access, recorder, tracer, findMissing } = parts;
  const { allowedHosts, allowedOrigins } = config;
  const enforced = !config.insecureNoAuth && !config.auth;
  return new Gateway({
    clock,
    guard: new RequestGuard({ allowedHosts, allowedOrigins, enforced, functionHosts: functionHostsOf(config) }),
    registry,
    ...defined({ findMissing }),
    control,
    forwarding,
    admission: new CallAdmission({
      clock,
      access: access.control,
      limits: access.limits,
      checkBudget: (entry) => access.checkBudget(entry),
      onRefused: (entry, error) => recorder.refuse(entry, error),
    }),
    bodies,
    answers: new WholeAnswers(config.keepAliveTimeoutMs),
    tracer,
    onRequestError: (error, requestId) => {
      if (error.code === "INTERNAL") log.error({ err: error.cause ?? error, requestId }, "request failed");
    },
  });
}

/** Standalone answers by the names that a cluster with the defaults would give. */
function functionHostsOf({ platform, functionsNamespace, clusterDomain, gatewayService }: Config): FunctionHosts {
  const hosts = { namespace: functionsNamespace, domain: clusterDomain };
  return platform === "kubernetes" ? { ...hosts, platformName: gatewayService } : hosts;
}
