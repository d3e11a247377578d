import { systemClock } from "../../../packages/server/src/clock.ts";
import { createPodApi } from "../../../packages/server/src/instances/kubernetes/pod-api.ts";
import { PodWatch } from "../../../packages/server/src/instances/kubernetes/pod-watch.ts";
import { KubernetesProvider, type KubernetesProviderOptions } from "../../../packages/server/src/instances/kubernetes/provider.ts";
import type { RevisionRef } from "../../../packages/server/src/instances/port.ts";
import type { PrintedLines } from "../../../packages/server/src/instances/printed-lines.ts";
import type { ApiClient } from "../../../packages/server/src/kubernetes/api-client.ts";
import type { KubernetesObject } from "../../../packages/server/src/kubernetes/resource.ts";
import { TestApiServer } from "../../cluster/api-server.ts";
import { podSigner } from "../../support/pods.ts";
import { adminClient, installDefinitions, quietLog } from "../kubernetes/support.ts";
import { TestKubelet } from "./kubelet.ts";
import type { PodLanguage } from "./pod-languages.ts";

export const NAMESPACE = "kube-serverless";
const PREFIX = "kube-serverless.io/";
const COMPONENT = "app.kubernetes.io/component";
const isBuilder = (labels: Readonly<Record<string, string>> = {}): boolean => labels[COMPONENT] === "builder";

/** A gateway's provider with what it sees of the cluster. */
export interface TestGateway {
  provider: KubernetesProvider;
  watch: PodWatch;
  errors: string[];
  printed: PrintedLines[];
  /** Of no function until told otherwise. */
  owned: Set<string>;
  stop(): Promise<void>;
}

/** A real API server with its controllers, pools of real shims, and as many gateways as wanted. */
export class TestPods {
  readonly server: TestApiServer;
  readonly client: ApiClient;
  readonly kubelet: TestKubelet;
  readonly #language: PodLanguage;
  readonly #runtime: string;
  readonly #gateways: TestGateway[] = [];
  #lastFunction = 0;

  private constructor(server: TestApiServer, language: PodLanguage, runtime: string) {
    this.server = server;
    this.client = adminClient(server);
    this.#language = language;
    this.#runtime = runtime;
    this.kubelet = new TestKubelet({
      client: this.client,
      namespace: NAMESPACE,
      commandOf: (labels) => (isBuilder(labels) ? language.builder! : language),
    });
  }

  static async start(language: PodLanguage, poolSize: number, runtime = "nodejs18"): Promise<TestPods> {
    const pods = new TestPods(await TestApiServer.start({ controllers: true }), language, runtime);
    try {
      await installDefinitions(pods.server);
      await pods.server.createNamespace(NAMESPACE);
      await pods.server.apply([{ apiVersion: "v1", kind: "Node", metadata: { name: "test-node" } }]);
      await pods.kubelet.start();
      await pods.setPool(poolSize, "image:1");
      if (language.builder !== undefined) await pods.setPool(poolSize, "builder:1", true);
    } catch (error) {
      await pods.stop();
      throw error;
    }
    return pods;
  }

  /** As the chart makes it. */
  async setPool(poolSize: number, image: string, builder = false): Promise<void> {
    const pool = builder ? `${this.#runtime}-builder` : `${this.#runtime}-256-outbound`;
    const labels = {
      [COMPONENT]: builder ? "builder" : "replica",
      [`${PREFIX}pool`]: pool,
      [`${PREFIX}runtime`]: this.#runtime,
      [`${PREFIX}memory`]: "256",
      [`${PREFIX}network`]: "outbound",
    };
    const container = { name: "replica", image, resources: { limits: { memory: "256Mi" } } };
    await this.server.apply([
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: `pool-${pool}`, namespace: NAMESPACE, labels, annotations: { [`${PREFIX}pool-size`]: String(poolSize) } },
        spec: {
          replicas: poolSize,
          strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: "50%" } },
          selector: { matchLabels: { [`${PREFIX}pool`]: pool } },
          template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 30, containers: [container] } },
        },
      },
    ]);
  }

  /** Pods that compile. */
  builders(): ReturnType<TestKubelet["pods"]> {
    return this.kubelet.pods().filter(({ metadata }) => isBuilder(metadata.labels));
  }

  async gateway(id: string, options: Partial<KubernetesProviderOptions> = {}): Promise<TestGateway> {
    const errors: string[] = [];
    const printed: PrintedLines[] = [];
    const owned = new Set<string>();
    const provider = new KubernetesProvider({
      clock: systemClock,
      gatewayId: id,
      signer: podSigner,
      api: createPodApi(this.client, NAMESPACE),
      graceMs: 30_000,
      isOwner: (uid) => owned.has(uid),
      onPrinted: (_replica, lines) => printed.push(lines),
      onEnded: () => undefined,
      onError: (error, what) => errors.push(`${what}: ${String(error)}`),
      ...options,
    });
    const watch = new PodWatch({ client: this.client, namespace: NAMESPACE, clock: systemClock, log: quietLog, provider });
    await watch.start();
    provider.start();
    const gateway: TestGateway = {
      provider,
      watch,
      errors,
      printed,
      owned,
      async stop() {
        await provider.stop({ deadlineMs: 100 });
        await watch.stop();
      },
    };
    this.#gateways.push(gateway);
    return gateway;
  }

  /** A Function of the API server, and its first revision. */
  async createFunction(changes: Partial<RevisionRef["spec"]> = {}): Promise<RevisionRef> {
    const name = `f${++this.#lastFunction}`;
    const { handler } = this.#language;
    const spec: RevisionRef["spec"] = {
      name,
      runtime: this.#runtime,
      handler,
      environment: { WHO: name },
      minReplicas: 0,
      maxReplicas: 10,
      triggers: [],
      timeout: 30,
      memory: 256,
      concurrency: 10,
      network: "outbound",
      ...changes,
    };
    const resource = { apiVersion: `${PREFIX}v1alpha1`, kind: "Function", plural: "functions", namespace: NAMESPACE };
    const code = this.#language.echo;
    const object: KubernetesObject & { spec: object } = { metadata: { name }, spec: { runtime: this.#runtime, handler, code } };
    const made = await this.client.create(resource, object);
    return { uid: made.metadata.uid, name, revision: 1, spec };
  }

  async stop(): Promise<void> {
    for (const gateway of this.#gateways) await gateway.stop();
    await this.kubelet.stop();
    this.client.stop();
    await this.server.dispose();
  }
}
