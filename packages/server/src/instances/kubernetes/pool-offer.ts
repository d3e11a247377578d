import { languageOf, type RuntimeInfo } from "@kube-serverless/contracts";
import type { PoolState } from "../port.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { GenericPods } from "./generic-pods.ts";
import { podClassKey } from "./pod.ts";
import type { PoolScaler } from "./pool-scaler.ts";

/** What the pools of the cluster offer, for those who ask from outside. */
export class PoolOffer {
  readonly #view: ClusterView;
  readonly #generic: GenericPods;
  readonly #scaler: PoolScaler;
  /** The last that was seen of each runtime: a pool may be empty for a moment. */
  readonly #versions = new Map<string, string>();

  constructor(view: ClusterView, generic: GenericPods, scaler: PoolScaler) {
    this.#view = view;
    this.#generic = generic;
    this.#scaler = scaler;
  }

  runtimes(): RuntimeInfo[] {
    for (const { podClass, version } of this.#generic.counts().values()) this.#versions.set(podClass.runtime, version);
    const names = new Set(this.#view.deployments.map(({ podClass }) => podClass.runtime));
    return [...names].toSorted().map((name) => {
      const version = this.#versions.get(name) ?? "";
      return { name, language: languageOf(name), version, exact: isOfLine(name, version), available: true, hint: "" };
    });
  }

  /** Names of pools that should have waiting pods and have none. */
  degraded(): string[] {
    const counts = this.#generic.counts();
    const empty = this.#view.deployments
      .filter(({ podClass, minSize }) => minSize > 0 && !counts.has(podClassKey(podClass)))
      .map(({ podClass }) => `pool-${podClass.runtime}${podClass.isBuilder ? "-builder" : ""}-empty`);
    return [...new Set(empty)];
  }

  pools(): PoolState[] {
    const counts = this.#generic.counts();
    return this.#view.deployments.map((deployment) => ({
      runtime: deployment.podClass.runtime,
      memoryMiB: deployment.podClass.memoryMiB,
      waiting: counts.get(podClassKey(deployment.podClass))?.waiting ?? 0,
      target: this.#scaler.target(deployment),
      // The cluster's own metrics tell it.
      pssMiB: 0,
    }));
  }
}

/** `nodejs18` and 18.20.8, `python39` and 3.9.6. */
function isOfLine(runtime: string, version: string): boolean {
  const digits = runtime.replace(/^[a-z]+/, "");
  const [major = "", minor = ""] = version.split(".");
  return digits === major || digits === major + minor;
}
