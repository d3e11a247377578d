import type { Replica, RevisionRef } from "../instances/port.ts";

/** A stream may run on so long after its replica was asked to drain. */
const STREAM_GRACE_MS = 30_000;

/** A replica in the list, with the calls it was given. */
export interface Slot {
  readonly replica: Replica;
  readonly revision: RevisionRef;
  inFlight: number;
  /** It was given a call. */
  used: boolean;
  /** False once it takes no more calls. */
  listed: boolean;
}

/** The replicas of one function that take calls, and those that have left the list and are not gone yet. */
export class SlotList {
  readonly #slots: Slot[] = [];
  readonly #leaving = new Set<Replica>();

  get size(): number {
    return this.#slots.length;
  }

  get ready(): number {
    return this.#slots.reduce((count, slot) => count + (slot.replica.readyInfo === undefined ? 0 : 1), 0);
  }

  list(): readonly Slot[] {
    return [...this.#slots];
  }

  add(replica: Replica, revision: RevisionRef): Slot {
    const slot: Slot = { replica, revision, inFlight: 0, used: false, listed: true };
    this.#slots.push(slot);
    return slot;
  }

  /** hot: the slot with the fewest calls that has room; what only starts comes after all that is ready. */
  findFree(concurrency: number): Slot | undefined {
    let best: Slot | undefined;
    for (const slot of this.#slots) {
      if (slot.inFlight >= concurrency || !slot.replica.accepting) continue;
      if (best === undefined || rank(slot) < rank(best)) best = slot;
    }
    return best;
  }

  /** So many that serve nothing and could go. */
  findIdle(atMost: number): Slot[] {
    return this.#slots.filter((slot) => slot.inFlight === 0 && slot.replica.readyInfo !== undefined).slice(0, atMost);
  }

  /** Those that have started, the least busy first. */
  readyByLoad(): Slot[] {
    return this.#slots.filter((slot) => slot.replica.readyInfo !== undefined).sort((a, b) => a.inFlight - b.inFlight);
  }

  findLeastBusy(): Slot | undefined {
    let least: Slot | undefined;
    for (const slot of this.#slots) if (least === undefined || slot.inFlight < least.inFlight) least = slot;
    return least;
  }

  /** Places that are free or under way, and the calls that hold places in replicas that still start. */
  count(concurrency: number): { starting: number; freeSlots: number; heldByStarting: number } {
    let starting = 0;
    let freeSlots = 0;
    let heldByStarting = 0;
    for (const { replica, inFlight } of this.#slots) {
      if (replica.readyInfo === undefined) {
        starting++;
        heldByStarting += inFlight;
      } else freeSlots += Math.max(0, concurrency - inFlight);
    }
    return { starting, freeSlots, heldByStarting };
  }

  /** From now on it gets no call; those within go on. */
  unlist(slot: Slot): void {
    if (!slot.listed) return;
    slot.listed = false;
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    this.#leaving.add(slot.replica);
    void slot.replica.exited.then(() => this.#leaving.delete(slot.replica));
  }

  drain(slot: Slot): void {
    this.unlist(slot);
    drainReplica(slot.replica);
  }

  /** Resolves when all that have left the list are gone. */
  async allGone(): Promise<void> {
    await Promise.all([...this.#leaving].map((replica) => replica.exited));
  }
}

/** Calls within run to their own limit, streams a while longer. */
export function drainReplica(replica: Replica): void {
  replica.drain(replica.revision.spec.timeout * 1000 + STREAM_GRACE_MS);
}

function rank(slot: Slot): number {
  return slot.replica.readyInfo === undefined ? slot.inFlight + 1_000_000 : slot.inFlight;
}
