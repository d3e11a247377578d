import type { Clock, Timer } from "../../clock.ts";
import type { PodApi } from "./pod-api.ts";
import { type PodClass, podClassKey } from "./pod.ts";
import type { PoolDeployment } from "./pool-deployment.ts";
import { CLAIM_WINDOW_MS, decidePoolSize } from "./pool-size.ts";

const INTERVAL_MS = 1000;
const MAX_CLAIMS = 1000;

export interface PoolScalerOptions {
  clock: Clock;
  api: Pick<PodApi, "scale">;
  deployments(): Iterable<PoolDeployment>;
  /** Waiting pods of one class at most. */
  maxSize: number;
  onError(error: unknown, deployment: PoolDeployment): void;
}

/** Makes pools as large as they are claimed. Every gateway sees all claims; the leader alone writes. */
export class PoolScaler {
  readonly #options: PoolScalerOptions;
  readonly #claims = new Map<string, number[]>();
  #timer: Timer | undefined;
  #scaling = false;

  constructor(options: PoolScalerOptions) {
    this.#options = options;
  }

  /** A pod of this class was claimed, by whichever gateway. */
  noteClaim(podClass: PodClass): void {
    const key = podClassKey(podClass);
    const claims = this.#claims.get(key) ?? [];
    claims.push(this.#options.clock.monotonicMs());
    if (claims.length > MAX_CLAIMS) claims.shift();
    this.#claims.set(key, claims);
  }

  /** This gateway leads from now on. */
  start(): void {
    if (this.#timer !== undefined) return;
    const tick = (): void => {
      this.#timer = this.#options.clock.setTimer(INTERVAL_MS, tick);
      void this.scaleAll();
    };
    tick();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** How large a pool should be now. */
  target({ podClass, minSize }: Pick<PoolDeployment, "podClass" | "minSize">): number {
    const nowMs = this.#options.clock.monotonicMs();
    const claimsMs = this.#claims.get(podClassKey(podClass)) ?? [];
    while (claimsMs.length > 0 && claimsMs[0]! <= nowMs - CLAIM_WINDOW_MS) claimsMs.shift();
    return decidePoolSize({ minSize, maxSize: Math.max(minSize, this.#options.maxSize), claimsMs }, nowMs);
  }

  /** One round; what fails is tried in the next. */
  async scaleAll(): Promise<void> {
    if (this.#scaling) return;
    this.#scaling = true;
    try {
      for (const deployment of this.#options.deployments()) await this.#scale(deployment);
    } finally {
      this.#scaling = false;
    }
  }

  async #scale(deployment: PoolDeployment): Promise<void> {
    const wanted = this.target(deployment);
    if (wanted === deployment.replicas) return;
    try {
      await this.#options.api.scale(deployment.metadata.name, wanted);
    } catch (error) {
      this.#options.onError(error, deployment);
    }
  }
}
