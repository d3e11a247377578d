import { KsError } from "@kube-serverless/contracts";

/** User ids given out one a process; each is given out again only when everything that had it is gone. */
export class UidSlots {
  readonly #first: number;
  readonly #count: number;
  readonly #taken = new Set<number>();
  #next = 0;

  constructor(range: { first: number; count: number }) {
    this.#first = range.first;
    this.#count = range.count;
  }

  acquire(): number {
    for (let tries = 0; tries < this.#count; tries += 1) {
      const uid = this.#first + this.#next;
      // Going round leaves a uid alone for as long as can be.
      this.#next = (this.#next + 1) % this.#count;
      if (this.#taken.has(uid)) continue;
      this.#taken.add(uid);
      return uid;
    }
    throw new KsError("NO_CAPACITY", { message: `All ${this.#count} user ids of --uid-range are in use: widen it` });
  }

  release(uid: number): void {
    this.#taken.delete(uid);
  }
}
