import { API_VERSION } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import type { KubernetesObject } from "../../kubernetes/resource.ts";
import type { TaskGroup } from "../../task-group.ts";
import type { FunctionEventReason } from "../declared.ts";
import type { Resources } from "./objects.ts";

/** At most so many a function in so long: events are for people, and etcd keeps each for an hour. */
const BURST = 10;
const REFILL_MS = 30_000;
const MAX_NOTE_CHARACTERS = 1000;
const WARNINGS: ReadonlySet<FunctionEventReason> = new Set(["DeployFailed", "OutOfMemory", "RouteConflict", "NameTaken"]);

interface EventObject extends KubernetesObject {
  eventTime: string;
  reportingController: string;
  reportingInstance: string;
  action: string;
  reason: string;
  note: string;
  type: "Normal" | "Warning";
  regarding: { apiVersion: string; kind: string; namespace: string; name: string; uid: string };
}

export interface EventReporterOptions {
  client: ApiClient;
  resources: Resources;
  clock: Clock;
  tasks: TaskGroup;
  /** Of this gateway. */
  instance: string;
}

/** Tells people what happened to a function, where `kubectl describe` shows it. */
export class EventReporter {
  readonly #options: EventReporterOptions;
  readonly #left = new Map<string, { events: number; atMs: number }>();
  #count = 0;

  constructor(options: EventReporterOptions) {
    this.#options = options;
  }

  report(name: string, uid: string, reason: FunctionEventReason, note: string): void {
    const { client, resources, clock, tasks, instance } = this.#options;
    if (!this.#admit(uid)) return;
    const event: EventObject = {
      metadata: { name: `${name}.${clock.nowMs().toString(16)}${(this.#count++ % 4096).toString(16)}${instance.slice(-5)}` },
      eventTime: new Date(clock.nowMs()).toISOString().replace("Z", "000Z"),
      reportingController: "kube-serverless.io/gateway",
      reportingInstance: instance,
      action: reason,
      reason,
      note: note.slice(0, MAX_NOTE_CHARACTERS),
      type: WARNINGS.has(reason) ? "Warning" : "Normal",
      regarding: { apiVersion: API_VERSION, kind: "Function", namespace: resources.functions.namespace ?? "", name, uid },
    };
    tasks.run("report event", () => client.create(resources.events, event));
  }

  forget(uid: string): void {
    this.#left.delete(uid);
  }

  #admit(uid: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    const left = this.#left.get(uid) ?? { events: BURST, atMs: nowMs };
    const refilled = Math.min(BURST, left.events + (nowMs - left.atMs) / REFILL_MS);
    this.#left.set(uid, { events: Math.max(0, refilled - 1), atMs: nowMs });
    return refilled >= 1;
  }
}
