import type { Clock } from "../../clock.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { Reflector, type ReflectorLog } from "../../kubernetes/reflector.ts";
import { POD_LABELS, type PodObject, type PodView, viewPod } from "./pod.ts";
import { type DeploymentObject, type PoolDeployment, viewPoolDeployment } from "./pool-deployment.ts";
import type { KubernetesProvider } from "./provider.ts";

export interface PodWatchOptions {
  client: ApiClient;
  namespace: string;
  clock: Clock;
  log: ReflectorLog;
  provider: KubernetesProvider;
}

/** Tells the provider what the API server knows of pods and pools. */
export class PodWatch {
  readonly #pods: Reflector<PodObject, PodView>;
  readonly #deployments: Reflector<DeploymentObject, PoolDeployment>;

  constructor({ client, namespace, clock, log, provider }: PodWatchOptions) {
    this.#pods = new Reflector<PodObject, PodView>({
      client,
      resource: { apiVersion: "v1", kind: "Pod", plural: "pods", namespace },
      clock,
      log,
      // Every pod that runs functions, or may.
      labelSelector: POD_LABELS.runtime,
      transform: viewPod,
      onChange: (pod, before) => provider.podChanged(pod, before),
      onGone: (pod) => provider.podGone(pod),
    });
    this.#deployments = new Reflector<DeploymentObject, PoolDeployment>({
      client,
      resource: { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments", namespace },
      clock,
      log,
      labelSelector: POD_LABELS.pool,
      transform: viewPoolDeployment,
      onChange: (deployment) => provider.deploymentChanged(deployment),
      onGone: (deployment) => provider.deploymentGone(deployment),
    });
  }

  /** Resolves when all of both is known. */
  async start(): Promise<void> {
    await Promise.all([this.#deployments.start(), this.#pods.start()]);
  }

  /** How long the API server has not answered. */
  failingForMs(): number {
    return Math.max(this.#pods.failingForMs(), this.#deployments.failingForMs());
  }

  async stop(): Promise<void> {
    await Promise.all([this.#pods.stop(), this.#deployments.stop()]);
  }
}
