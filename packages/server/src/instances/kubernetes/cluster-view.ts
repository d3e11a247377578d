import { type PodClass, podClassKey, type PodView } from "./pod.ts";
import type { PoolDeployment } from "./pool-deployment.ts";

/** What this gateway knows from the API server: pods by uid, and the Deployments that keep the pools. */
export class ClusterView {
  readonly pods = new Map<string, PodView>();
  readonly #deployments = new Map<string, PoolDeployment>();

  get deployments(): readonly PoolDeployment[] {
    return [...this.#deployments.values()];
  }

  setDeployment(deployment: PoolDeployment): void {
    this.#deployments.set(deployment.metadata.uid, deployment);
  }

  deleteDeployment({ metadata }: PoolDeployment): void {
    this.#deployments.delete(metadata.uid);
  }

  /** After what a pod of this class is made: any pool of the runtime, that of the class itself before others. */
  templateOf(podClass: PodClass): PoolDeployment | undefined {
    const ofRuntime = this.deployments.filter(
      (each) => each.podClass.runtime === podClass.runtime && each.podClass.isBuilder === podClass.isBuilder,
    );
    const key = podClassKey(podClass);
    return ofRuntime.find((each) => podClassKey(each.podClass) === key) ?? ofRuntime[0];
  }

  /** The pool of pods that compile for this runtime. */
  builderOf(runtime: string): PoolDeployment | undefined {
    return this.deployments.find(({ podClass }) => podClass.runtime === runtime && podClass.isBuilder);
  }

  /** Why a pod of this class does not run, in the cluster's words. */
  obstacleOf(podClass: PodClass): string | undefined {
    const key = podClassKey(podClass);
    for (const pod of this.pods.values()) if (pod.obstacle !== undefined && podClassKey(pod.podClass) === key) return pod.obstacle;
    return undefined;
  }
}
