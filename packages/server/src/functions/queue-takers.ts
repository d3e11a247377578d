import { sourceOf } from "../queue/retry.ts";
import type { SpecWithoutCode } from "../store/port.ts";

/** Which functions take from which queue. */
export class QueueTakers {
  readonly #namesByQueue = new Map<string, Map<string, string>>();
  readonly #queuesByUid = new Map<string, ReadonlySet<string>>();

  /** Replaces what one function takes from. */
  set(uid: string, specs: readonly SpecWithoutCode[]): void {
    this.remove(uid);
    const queues = new Set(specs.flatMap(({ triggers }) => triggers.flatMap((each) => (each.type === "queue" ? [each.config.queue] : []))));
    if (queues.size === 0) return;
    this.#queuesByUid.set(uid, queues);
    for (const queue of queues) {
      const names = this.#namesByQueue.get(queue) ?? new Map<string, string>();
      this.#namesByQueue.set(queue, names.set(uid, specs[0]!.name));
    }
  }

  remove(uid: string): void {
    for (const queue of this.#queuesByUid.get(uid) ?? []) {
      const names = this.#namesByQueue.get(queue);
      names?.delete(uid);
      if (names?.size === 0) this.#namesByQueue.delete(queue);
    }
    this.#queuesByUid.delete(uid);
  }

  /** Names of the functions that take from it. */
  of(queue: string): readonly string[] {
    return [...(this.#namesByQueue.get(queue)?.values() ?? [])];
  }

  /** Names of the functions that get its messages sooner or later: from it, from its dead letters, or from where it has them from. */
  ofFamily(queue: string): readonly string[] {
    const source = sourceOf(queue);
    const family = [...this.#namesByQueue.keys()].filter((name) => sourceOf(name) === source);
    return [...new Set(family.flatMap((name) => this.of(name)))];
  }
}
