import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../../clock.ts";
import type { RevisionRef } from "../port.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { GenericPod, GenericPods } from "./generic-pods.ts";
import { type PodClass, podClassKey } from "./pod.ts";
import { buildFunctionReference, type PodApi } from "./pod-api.ts";
import { buildDirectPod } from "./pool-deployment.ts";

/** A pod that waits answers a claim at once; one that does not is passed over. */
const CLAIM_TIMEOUT_MS = 1000;
/** A pod that has to be started: scheduled, its image there, dialled. */
export const START_TIMEOUT_MS = 60_000;

export interface PodClaimsOptions {
  clock: Clock;
  api: Pick<PodApi, "create">;
  view: ClusterView;
  generic: GenericPods;
  onError(error: unknown, what: string, fields: Readonly<Record<string, unknown>>): void;
}

/** Finds a pod that has run nothing and is nobody else's: one that waits, or one that is started for it. */
export class PodClaims {
  readonly #options: PodClaimsOptions;
  readonly #generic: GenericPods;
  readonly #clock: Clock;
  /** Pods that were started beside the pools: when, by uid. */
  readonly #direct = new Map<string, number>();
  #starting = 0;

  constructor(options: PodClaimsOptions) {
    this.#options = options;
    this.#generic = options.generic;
    this.#clock = options.clock;
  }

  /** Started beside the pools, and not claimed yet. */
  isDirect(podUid: string): boolean {
    return this.#direct.has(podUid);
  }

  /** Its function has it, or it is gone. */
  forget(podUid: string): void {
    this.#direct.delete(podUid);
  }

  /** Pods that were started for a function which got another. */
  *unwanted(): Generator<string> {
    if (this.#starting > 0) return;
    const beforeMs = this.#clock.monotonicMs() - START_TIMEOUT_MS;
    for (const [uid, atMs] of this.#direct) if (atMs < beforeMs) yield uid;
  }

  /** hot: one that waits; it is to be claimed. */
  take(podClass: PodClass): GenericPod | undefined {
    return this.#generic.take(podClass);
  }

  /** Any that waits, to look at. */
  peek(podClass: PodClass): GenericPod | undefined {
    return this.#generic.peek(podClass);
  }

  /** Claims `first`, or another that waits. */
  async claimWaiting(first: GenericPod | undefined, podClass: PodClass): Promise<GenericPod | undefined> {
    for (let found = first; found !== undefined; found = this.#generic.take(podClass)) {
      if (await found.link.claim(CLAIM_TIMEOUT_MS)) return found;
      found.link.close();
    }
    return undefined;
  }

  /** None waits: a pod is started for the function, and whichever comes first is claimed. @throws KsError `NO_CAPACITY` */
  async claimStarted(revision: RevisionRef, podClass: PodClass, isWanted: () => boolean): Promise<GenericPod> {
    this.#starting++;
    const creating = this.#create(revision, podClass);
    try {
      return await this.claimNext(podClass, isWanted);
    } finally {
      this.#starting--;
      await creating;
    }
  }

  /** The next that comes. @throws KsError `NO_CAPACITY` */
  async claimNext(podClass: PodClass, isWanted: () => boolean): Promise<GenericPod> {
    const endsAtMs = this.#clock.monotonicMs() + START_TIMEOUT_MS;
    for (;;) {
      const found = await this.#generic.wait(podClass, Math.max(0, endsAtMs - this.#clock.monotonicMs()));
      if (found === undefined) throw this.#sayNoPod(podClass);
      if (!isWanted() || (await found.link.claim(CLAIM_TIMEOUT_MS))) return found;
      found.link.close();
    }
  }

  async #create(revision: RevisionRef, podClass: PodClass): Promise<void> {
    const { api, view, onError } = this.#options;
    const template = view.templateOf(podClass);
    if (template === undefined) return;
    try {
      const owner = { uid: revision.uid, reference: buildFunctionReference(revision) };
      const pod = await api.create(buildDirectPod(template, podClass, owner));
      this.#direct.set(pod.metadata.uid, this.#clock.monotonicMs());
      const known = view.pods.get(pod.metadata.uid);
      if (known !== undefined) this.#generic.update(known);
    } catch (error) {
      // One of the pool may come all the same.
      onError(error, "a pod could not be started", { class: podClassKey(podClass) });
    }
  }

  #sayNoPod(podClass: PodClass): KsError {
    const key = podClassKey(podClass);
    const obstacle = this.#options.view.obstacleOf(podClass);
    const words = obstacle === undefined ? "" : `, as the cluster says: ${obstacle}`;
    const message = `No capacity: no pod of ${key} could be started within ${START_TIMEOUT_MS / 1000} s${words}`;
    const details = { class: key, ...(obstacle === undefined ? {} : { obstacle }) };
    return new KsError("NO_CAPACITY", { message, retryAfterMs: 1000, details });
  }
}
