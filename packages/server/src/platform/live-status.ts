import type { Clock, Timer } from "../clock.ts";
import type { FunctionEntry } from "../functions/registry.ts";
import type { DeclaredFunctions } from "../store/declared.ts";

const LOOK_EVERY_MS = 1000;

export interface LiveStatusOptions {
  clock: Clock;
  functions: Pick<DeclaredFunctions, "noteLive" | "report">;
  entries(): Iterable<FunctionEntry>;
  isOwner(uid: string): boolean;
  lastInvocation(uid: string): string | undefined;
}

/** Shows in the status of owned functions how many replicas they have, and tells when they wake and fall asleep. */
export class LiveStatusLoop {
  readonly #options: LiveStatusOptions;
  readonly #replicas = new Map<string, number>();
  #timer: Timer | undefined;

  constructor(options: LiveStatusOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = this.#options.clock.setTimer(LOOK_EVERY_MS, () => {
      this.look();
      this.start();
    });
  }

  look(): void {
    for (const { stored, existingDispatcher } of this.#options.entries()) {
      if (existingDispatcher === undefined || !this.#options.isOwner(stored.uid)) continue;
      const { replicas, readyReplicas } = existingDispatcher;
      this.#options.functions.noteLive(stored.uid, { replicas, readyReplicas, lastInvocation: this.#options.lastInvocation(stored.uid) });
      this.#tell(stored.uid, replicas);
    }
  }

  forget(uid: string): void {
    this.#replicas.delete(uid);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #tell(uid: string, replicas: number): void {
    const before = this.#replicas.get(uid) ?? 0;
    if (replicas === 0) this.#replicas.delete(uid);
    else this.#replicas.set(uid, replicas);
    if (before === 0 && replicas > 0) this.#options.functions.report(uid, "ScaledFromZero", `It was called; replicas: ${replicas}`);
    if (before > 0 && replicas === 0) this.#options.functions.report(uid, "ScaledToZero", "It was idle; no replicas are left");
  }
}
