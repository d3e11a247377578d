import type { Clock, Timer } from "../../clock.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { PodView } from "./pod.ts";
import type { PodClaims } from "./pod-claims.ts";
import type { ServingPods } from "./serving-pods.ts";

const INTERVAL_MS = 5000;
/** A pod of a function that no replica of this gateway is behind: an update or a hand-over may still be at it. */
const ABANDONED_MS = 30_000;

export interface PodUpkeepOptions {
  clock: Clock;
  view: ClusterView;
  claims: PodClaims;
  serving: ServingPods;
  /** A replica that is replaced has so long to end its calls. */
  graceMs: number;
  isOwner(functionUid: string): boolean;
  discard(pod: PodView): void;
}

/** Deletes pods that nobody will use any more, and renews those of an image that was replaced. */
export class PodUpkeep {
  readonly #options: PodUpkeepOptions;
  /** Pods of this gateway's functions without a replica: since when, by uid. */
  readonly #abandoned = new Map<string, number>();
  #timer: Timer | undefined;

  constructor(options: PodUpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    const tick = (): void => {
      this.#timer = this.#options.clock.setTimer(INTERVAL_MS, tick);
      this.sweep();
    };
    tick();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** One round. */
  sweep(): void {
    const { view, claims, discard, clock } = this.#options;
    for (const uid of [...claims.unwanted()]) {
      const pod = view.pods.get(uid);
      if (pod !== undefined) discard(pod);
    }
    const nowMs = clock.monotonicMs();
    for (const pod of view.pods.values()) this.#sweepOne(pod, nowMs);
    for (const uid of this.#abandoned.keys()) if (!view.pods.has(uid)) this.#abandoned.delete(uid);
    this.#renewOne();
  }

  #sweepOne(pod: PodView, nowMs: number): void {
    const { claims, serving, isOwner, discard } = this.#options;
    const { uid } = pod.metadata;
    const isMine = pod.functionUid !== undefined && isOwner(pod.functionUid);
    if (!isMine || pod.isLeaving || serving.has(uid) || claims.isDirect(uid)) {
      this.#abandoned.delete(uid);
      return;
    }
    const sinceMs = this.#abandoned.get(uid) ?? nowMs;
    this.#abandoned.set(uid, sinceMs);
    if (nowMs - sinceMs >= ABANDONED_MS) discard(pod);
  }

  /** As in a rolling update: one replica of an older image at a time ends, once there are waiting pods of the newer. */
  #renewOne(): void {
    const { view, serving, graceMs } = this.#options;
    for (const { pod, replica } of serving.entries()) {
      const image = view.templateOf(pod.podClass)?.image;
      if (image === undefined || image === pod.image || !replica.accepting || replica.readyInfo === undefined) continue;
      const isThere = [...view.pods.values()].some((each) => each.pool !== undefined && each.image === image && each.isRunning);
      if (isThere) return replica.drain(graceMs);
    }
  }
}
