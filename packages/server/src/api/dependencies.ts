import type { IncomingMessage } from "node:http";
import type { CronBody, CronCheck, FunctionMetrics, RuntimeInfo } from "@kube-serverless/contracts";
import type { BodyBudget } from "../http/body-budget.ts";
import type { FunctionService } from "../functions/port.ts";
import type { FunctionLogs } from "../logs/function-logs.ts";
import type { QueueDriver } from "../queue/port.ts";
import type { AccessControl } from "../security/access-control.ts";
import type { ApiKeys } from "../security/keys/api-keys.ts";
import type { ScalingView } from "../scaling/history.ts";
import type { StoredFunction } from "../store/port.ts";
import type { Clock } from "../clock.ts";

/** What `/ready` says. */
export interface Readiness {
  /** `starting` until the state is loaded, `draining` from the signal on. */
  state: "starting" | "ready" | "draining";
  /** What is away, or weaker than it should be. */
  degraded: readonly string[];
  /** Further facts to show, such as the sandbox's driver and the pools. */
  facts?: Readonly<Record<string, unknown>>;
}

/** What the control API needs of the house. */
export interface ApiDependencies {
  functions: FunctionService;
  readMetrics(stored: StoredFunction): FunctionMetrics | Promise<FunctionMetrics>;
  readScaling(stored: StoredFunction): ScalingView | Promise<ScalingView>;
  /** With the newest so many runs. */
  readCron(stored: StoredFunction, limit: number): Promise<CronBody>;
  logs: Pick<FunctionLogs, "query" | "follow">;
  bodies: Pick<BodyBudget, "hold">;
  queues: Pick<QueueDriver, "publish" | "stats">;
  /** Names of the functions that take from a queue. */
  takersOf(queue: string): readonly string[];
  /** The same, and those that take from its dead letters, or from the queue whose dead letters it holds. */
  takersOfFamily(queue: string): readonly string[];
  access: AccessControl;
  /** Undefined where nobody is asked for a key. */
  keys: ApiKeys | undefined;
  /** Address of a caller, as the platform trusts it. */
  clientAddress(request: IncomingMessage): string;
  runtimes(): readonly RuntimeInfo[];
  readiness(): Readiness | Promise<Readiness>;
  /** Prometheus text, in pieces. */
  scrape(): Iterable<string> | Promise<Iterable<string>>;
  checkCron: CronCheck;
  clock: Clock;
  /** Told of what is a defect of the platform, with its cause. */
  onInternalError(error: Error, requestId: string): void;
}
