import { chooseOwner, type HashedMember, hashMembers, hashText } from "./rendezvous.ts";
import type { View } from "./membership.ts";

/** Told after the view has changed. */
export type OwnershipListener = (view: View) => void;

/** Which gateway owns which function, in this gateway's view; it owns everything itself while it sees nobody ready. */
export class Ownership {
  readonly #selfId: string;
  #view: View = { epoch: 0, members: [] };
  #members: readonly HashedMember[] = [];
  readonly #listeners = new Set<OwnershipListener>();

  constructor(selfId: string) {
    this.#selfId = selfId;
  }

  get view(): View {
    return this.#view;
  }

  /** Grows with each change: what was computed for an older one no longer holds. */
  get epoch(): number {
    return this.#view.epoch;
  }

  /** hot: by the hash of the function's uid, where it is at hand. */
  ownerOfHash(uidHash: number): string {
    return chooseOwner(uidHash, this.#members) ?? this.#selfId;
  }

  ownerOf(uid: string): string {
    return this.ownerOfHash(hashText(uid));
  }

  isOwner(uid: string): boolean {
    return this.ownerOf(uid) === this.#selfId;
  }

  /** Who will own the function when this gateway is gone; undefined when nobody else is ready. */
  successorOf(uid: string): string | undefined {
    return chooseOwner(
      hashText(uid),
      this.#members.filter(({ id }) => id !== this.#selfId),
    );
  }

  /** Returns what ends the listening. */
  onChanged(listener: OwnershipListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Takes the view over; does nothing for the one it has. */
  follow(view: View): void {
    if (view === this.#view) return;
    this.#view = view;
    this.#members = hashMembers(view.members);
    for (const listener of this.#listeners) listener(view);
  }
}
