/** Who owns a function, and a way to ask there. */
export interface OwnerPeers {
  ownerOf(uid: string): string;
  request(id: string, name: string, params: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
  handle(name: string, handler: (params: unknown) => unknown): void;
}

const ANSWER_MS = 5000;

/** A question that only the owner of a function can answer: asked here or there. */
export type OwnerQuestion<Answer> = (uid: string) => Answer | Promise<Answer>;

/**
 * Makes a question that goes to whoever owns the function; `answer` is how this gateway answers for its own.
 * It rejects with KsError where the owner cannot be reached.
 */
export function createOwnerQuestion<Answer>(
  peers: OwnerPeers,
  selfId: string,
  name: string,
  answer: (uid: string) => Answer | Promise<Answer>,
): OwnerQuestion<Answer> {
  peers.handle(name, (params) => answer(String(params)));
  return (uid) => {
    const owner = peers.ownerOf(uid);
    if (owner === selfId) return answer(uid);
    return peers.request(owner, name, uid, { signal: AbortSignal.timeout(ANSWER_MS) }) as Promise<Answer>;
  };
}
