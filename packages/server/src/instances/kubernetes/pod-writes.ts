import type { Clock, Timer } from "../../clock.ts";
import type { RevisionRef } from "../port.ts";
import type { PodApi, PodRef } from "./pod-api.ts";

const FIRST_RETRY_MS = 200;
const MAX_RETRY_MS = 5000;

interface Write {
  pod: PodRef;
  claim: RevisionRef | undefined;
  graceSeconds: number | undefined;
}

/**
 * Claims and deletions of pods, which follow what has happened already: no call waits for them, and they are tried until the
 * API server has taken them. A deletion takes the place of a claim.
 */
export class PodWrites {
  readonly #api: PodApi;
  readonly #clock: Clock;
  readonly #onError: (error: unknown, pod: PodRef) => void;
  readonly #pending = new Map<string, Write>();
  readonly #timers = new Set<Timer>();
  #stopped = false;
  #onIdle: (() => void) | undefined;

  constructor(api: PodApi, clock: Clock, onError: (error: unknown, pod: PodRef) => void) {
    this.#api = api;
    this.#clock = clock;
    this.#onError = onError;
  }

  /** Claims and deletions that the API server has not taken yet. */
  get pending(): number {
    return this.#pending.size;
  }

  claim(pod: PodRef, revision: RevisionRef): void {
    if (!this.#pending.has(pod.uid)) this.#begin({ pod, claim: revision, graceSeconds: undefined });
  }

  /** @param graceSeconds of the pod's own when undefined */
  delete(pod: PodRef, graceSeconds?: number): void {
    const running = this.#pending.get(pod.uid);
    if (running !== undefined && running.claim === undefined) return;
    this.#begin({ pod, claim: undefined, graceSeconds });
  }

  /** Resolves when all is written, or the time is over. */
  async settle(deadlineMs: number): Promise<void> {
    if (this.#pending.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.setTimer(deadlineMs, resolve);
        this.#onIdle = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#pending.clear();
  }

  #begin(write: Write): void {
    this.#pending.set(write.pod.uid, write);
    this.#run(write, 0);
  }

  #run(write: Write, tries: number): void {
    this.#perform(write).then(
      () => this.#done(write),
      (error: unknown) => {
        if (tries === 0) this.#onError(error, write.pod);
        this.#retry(write, tries + 1);
      },
    );
  }

  async #perform({ pod, claim, graceSeconds }: Write): Promise<void> {
    if (claim === undefined) await this.#api.delete(pod, graceSeconds);
    else await this.#api.claim(pod, claim);
  }

  #done(write: Write): void {
    if (this.#pending.get(write.pod.uid) === write) this.#pending.delete(write.pod.uid);
    if (this.#pending.size === 0) this.#onIdle?.();
  }

  #retry(write: Write, tries: number): void {
    if (this.#stopped) return;
    const timer = this.#clock.setTimer(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1)), () => {
      this.#timers.delete(timer);
      if (this.#pending.get(write.pod.uid) === write) this.#run(write, tries);
    });
    this.#timers.add(timer);
  }
}
