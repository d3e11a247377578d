import type { ApiClient } from "../../../packages/server/src/kubernetes/api-client.ts";
import { buildPath, type Persisted, type Resource } from "../../../packages/server/src/kubernetes/resource.ts";
import { Reflector } from "../../../packages/server/src/kubernetes/reflector.ts";
import { systemClock } from "../../../packages/server/src/clock.ts";
import type { PodObject } from "../../../packages/server/src/instances/kubernetes/pod.ts";
import { ShimPod } from "../../support/pods.ts";
import { quietLog } from "../kubernetes/support.ts";

const NODE = "test-node";

export interface KubeletOptions {
  client: ApiClient;
  namespace: string;
  /** What runs in a pod, by its labels. */
  commandOf(labels: Readonly<Record<string, string>>): { command: readonly string[]; environment: Readonly<Record<string, string>> };
}

/** Stands in for scheduler and kubelet: runs each pod's shim as a process on an address of loopback, and writes the pod's status. */
export class TestKubelet {
  readonly #options: KubeletOptions;
  readonly #resource: Resource;
  readonly #reflector: Reflector<PodObject>;
  readonly running = new Map<string, ShimPod>();
  /** Containers of this uid end so instead of as they do. */
  readonly #outOfMemory = new Set<string>();
  #stopping = false;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#resource = { apiVersion: "v1", kind: "Pod", plural: "pods", namespace: options.namespace };
    this.#reflector = new Reflector<PodObject>({
      client: options.client,
      resource: this.#resource,
      clock: systemClock,
      log: quietLog,
      transform: (pod) => pod,
      onChange: (pod) => void this.#sync(pod).catch(() => undefined),
      onGone: ({ metadata }) => void this.running.get(metadata.uid)?.kill(),
    });
  }

  start(): Promise<void> {
    return this.#reflector.start();
  }

  pods(): Persisted<PodObject>[] {
    return [...this.#reflector.values()];
  }

  /** Ends the process as the kernel does at the memory limit. */
  async endOutOfMemory(uid: string): Promise<void> {
    this.#outOfMemory.add(uid);
    await this.running.get(uid)?.kill();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#reflector.stop();
    await Promise.all([...this.running.values()].map((shim) => shim.kill()));
  }

  async #sync(pod: Persisted<PodObject>): Promise<void> {
    const { uid, name, deletionTimestamp, labels = {} } = pod.metadata;
    const known = this.running.get(uid);
    if (deletionTimestamp !== undefined) {
      known?.terminate();
      await known?.exited;
      await this.#options.client.delete(this.#resource, name, { gracePeriodSeconds: 0, preconditions: { uid } });
      return;
    }
    if (known !== undefined || this.#stopping) return;
    const shim = new ShimPod({ uid, ...this.#options.commandOf(labels) });
    this.running.set(uid, shim);
    await this.#bind(name);
    await shim.listening();
    await this.#setStatus(name, { podIP: shim.ip, phase: "Running", containerStatuses: [containerStatus(0)] });
    void shim.exited.then(({ code }) => this.#ended(name, uid, code));
  }

  async #bind(name: string): Promise<void> {
    const body = { apiVersion: "v1", kind: "Binding", metadata: { name }, target: { apiVersion: "v1", kind: "Node", name: NODE } };
    await this.#options.client.request("POST", `${buildPath(this.#resource, name)}/binding`, { body }).catch(() => undefined);
  }

  async #ended(name: string, uid: string, code: number | null): Promise<void> {
    if (this.#stopping) return;
    const terminated = this.#outOfMemory.has(uid) ? { exitCode: 137, reason: "OOMKilled" } : { exitCode: code ?? 137, reason: "Error" };
    await this.#setStatus(name, { containerStatuses: [containerStatus(1, terminated)] }).catch(() => undefined);
  }

  async #setStatus(name: string, status: object): Promise<void> {
    const contentType = "application/merge-patch+json";
    await this.#options.client.request("PATCH", buildPath(this.#resource, name, "status"), { body: { status }, contentType });
  }
}

function containerStatus(restartCount: number, terminated?: object): object {
  return {
    name: "replica",
    image: "image",
    imageID: "image",
    ready: true,
    restartCount,
    state: { running: { startedAt: new Date().toISOString() } },
    lastState: terminated === undefined ? {} : { terminated },
  };
}
