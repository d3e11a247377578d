/**
 * Rendezvous hashing: each function belongs to the gateway that scores highest for it, so that a gateway that comes or goes
 * moves its own functions alone. Every gateway must compute the same, whatever its version: the figures here never change.
 */

/** FNV-1a over UTF-16 units; uids and gateways' names are ASCII. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return mix(hash);
}

/** A gateway in the order of the members' names, with its hash. */
export interface HashedMember {
  readonly id: string;
  readonly hash: number;
}

export function hashMembers(ids: readonly string[]): HashedMember[] {
  return [...ids].sort().map((id) => ({ id, hash: hashText(id) }));
}

/** hot: who of the members owns what hashes to `hash`; undefined without members. Of equal scores the first name wins. */
export function chooseOwner(hash: number, members: readonly HashedMember[]): string | undefined {
  let owner: string | undefined;
  let best = -1;
  for (const member of members) {
    const score = mix(Math.imul(hash, 0x9e3779b1) ^ member.hash);
    if (score <= best) continue;
    best = score;
    owner = member.id;
  }
  return owner;
}

/** The finaliser of MurmurHash3: every bit of the input sways every bit of the result. */
function mix(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
