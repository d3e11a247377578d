import type { FunctionObjectStatus } from "./objects.ts";

interface Numbered {
  revision: number;
  hash: string | undefined;
  /** Of the last few. */
  hashes: Map<number, string>;
}

const HASHES_KEPT = 8;

/**
 * Counts revisions of specs that anybody may write: a new hash is the next revision. What the status says is where counting
 * goes on after a restart; in between the own count is ahead of it, so that no number is given twice.
 */
export class RevisionNumbers {
  readonly #byUid = new Map<string, Numbered>();

  /** Number of the wanted revision; without a hash (a spec that cannot be read) that of the one before. */
  numberOf(uid: string, hash: string | undefined, { wantedRevision = 0, wantedHash }: FunctionObjectStatus): number {
    const numbered = this.#byUid.get(uid) ?? { revision: 0, hash: undefined, hashes: new Map<number, string>() };
    this.#byUid.set(uid, numbered);
    if (wantedRevision > numbered.revision) {
      numbered.revision = wantedRevision;
      numbered.hash = wantedHash;
      if (wantedHash !== undefined) numbered.hashes.set(wantedRevision, wantedHash);
    }
    if (hash !== undefined && hash !== numbered.hash) {
      numbered.revision++;
      numbered.hash = hash;
      numbered.hashes.set(numbered.revision, hash);
      numbered.hashes.delete(numbered.revision - HASHES_KEPT);
    }
    return Math.max(1, numbered.revision);
  }

  hashOf(uid: string, revision: number): string | undefined {
    return this.#byUid.get(uid)?.hashes.get(revision);
  }

  forget(uid: string): void {
    this.#byUid.delete(uid);
  }
}
