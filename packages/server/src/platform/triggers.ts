import type { CronBody, CronTrigger, QueueTrigger, Trigger } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { FunctionRegistry } from "../functions/registry.ts";
import type { QueueDriver } from "../queue/port.ts";
import type { CronStore, SpecWithoutCode, StoredFunction } from "../store/port.ts";
import type { TaskGroup } from "../task-group.ts";
import { CronScheduler } from "../triggers/cron.ts";
import { buildCronView } from "../triggers/cron-view.ts";
import type { TriggerInvoker } from "../triggers/invoker.ts";
import { QueueTriggers } from "../triggers/queue.ts";

export interface TriggerParts {
  registry: FunctionRegistry;
  invoker: TriggerInvoker;
  store: CronStore;
  queues: QueueDriver;
  clock: Clock;
  tasks: TaskGroup;
  log: Logger;
  /** Whether the messages for a function are taken here. @default always */
  consumes?(uid: string): boolean;
}

/** Cron and queue triggers of all functions, kept in step with what serves. */
export class Triggers {
  readonly #registry: FunctionRegistry;
  readonly #createCron: () => CronScheduler;
  #cron: CronScheduler;
  readonly #queues: QueueTriggers;
  readonly #driver: QueueDriver;
  readonly #store: CronStore;
  readonly #tasks: TaskGroup;
  readonly #consumes: (uid: string) => boolean;
  readonly #declared = new Set<string>();
  #started = false;

  constructor({ registry, invoker, store, queues, clock, tasks, log, consumes = () => true }: TriggerParts) {
    this.#registry = registry;
    this.#consumes = consumes;
    this.#driver = queues;
    this.#store = store;
    this.#tasks = tasks;
    this.#createCron = () => new CronScheduler({ store, clock, tasks, log, invoke: (uid, invocation) => invoker.invoke(uid, invocation) });
    this.#cron = this.#createCron();
    this.#queues = new QueueTriggers({ driver: queues, clock, log, invoke: (uid, invocation) => invoker.invoke(uid, invocation) });
  }

  /** After the functions are loaded. */
  async start(): Promise<void> {
    await this.startCron();
    this.startQueues();
  }

  startQueues(): void {
    this.#started = true;
    this.#syncQueues();
  }

  /** One gateway alone runs cron triggers at a time. */
  async startCron(): Promise<void> {
    await this.#cron.start(this.#cronTriggers());
  }

  /** Leaves cron to another: what runs is waited for, nothing more begins. */
  async stopCron(options: { deadlineMs: number }): Promise<void> {
    const leaving = this.#cron;
    this.#cron = this.#createCron();
    this.#cron.sync(this.#cronTriggers());
    await leaving.stop(options);
  }

  /** A function was made, changed or deleted. */
  sync(): void {
    if (!this.#started) return;
    this.#cron.sync(this.#cronTriggers());
    this.#syncQueues();
  }

  /** What cron did and will do with a function. @throws KsError `STORE_UNAVAILABLE` */
  async cronOf(uid: string, limit: number): Promise<CronBody> {
    return buildCronView(this.#cron.upcoming(uid), await this.#store.listCronRuns(uid, limit));
  }

  async stop(options: { deadlineMs: number }): Promise<void> {
    this.#started = false;
    await Promise.all([this.#cron.stop(options), this.#queues.stop(options)]);
  }

  #syncQueues(): void {
    for (const { config } of this.#configsOf<QueueTrigger>("queue", ({ spec }) => spec)) this.#declare(config);
    this.#queues.sync(this.#queueTriggers());
  }

  /** A queue can be published to as soon as a function names it, before that function serves. */
  #declare({ queue, exchange, routingKey }: QueueTrigger["config"]): void {
    const key = JSON.stringify([queue, exchange, routingKey]);
    if (this.#declared.has(key)) return;
    this.#declared.add(key);
    const declaration = { queue, ...(exchange === undefined ? {} : { exchange }), ...(routingKey === undefined ? {} : { routingKey }) };
    this.#tasks.run("declare queue", () =>
      this.#driver.declare(declaration).catch((error: unknown) => {
        this.#declared.delete(key);
        throw error;
      }),
    );
  }

  /** Of the serving revisions: a function without one is not called by itself. */
  #cronTriggers() {
    return this.#configsOf<CronTrigger>("cron", servedSpec).map(({ stored, config }) => ({
      uid: stored.uid,
      config,
      sinceMs: sinceMsOf(stored),
    }));
  }

  #queueTriggers() {
    const all = this.#configsOf<QueueTrigger>("queue", servedSpec);
    return all.filter(({ stored }) => this.#consumes(stored.uid)).map(({ stored, config }) => ({ uid: stored.uid, config }));
  }

  #configsOf<T extends Trigger>(
    type: T["type"],
    specOf: (stored: StoredFunction) => SpecWithoutCode | undefined,
  ): { stored: StoredFunction; config: T["config"] }[] {
    const found: { stored: StoredFunction; config: T["config"] }[] = [];
    for (const { stored } of this.#registry.entries()) {
      for (const trigger of specOf(stored)?.triggers ?? []) if (trigger.type === type) found.push({ stored, config: trigger.config });
    }
    return found;
  }
}

function servedSpec({ served }: StoredFunction): SpecWithoutCode | undefined {
  return served?.spec;
}

function sinceMsOf({ status, createdAt }: StoredFunction): number {
  return Date.parse(status.lastDeployment ?? createdAt);
}
