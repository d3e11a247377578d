/** Who owns a function, and a way to ask there. */
export interface OwnerPeers {
  ownerOf(uid: string): string;
  request(id: string, name: string, params: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
  handle(name: string, handler: (params: unknown) => unknown): void;
}

const ANSWER_MS = 5000;
/** Belongs to one of the gateways, as a function would. */
const COMMON = "common";

/** A question that only one gateway can answer: asked here or there. */
export type OwnerQuestion<Answer, Params = string> = (params: Params) => Answer | Promise<Answer>;

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
  return createQuestion(peers, selfId, name, answer, (uid) => uid);
}

/** The same for what is no function's: one of the gateways answers for all. */
export function createCommonQuestion<Answer, Params>(
  peers: OwnerPeers,
  selfId: string,
  name: string,
  answer: (params: Params) => Answer | Promise<Answer>,
): OwnerQuestion<Answer, Params> {
  return createQuestion(peers, selfId, name, answer, () => COMMON);
}

function createQuestion<Answer, Params>(
  peers: OwnerPeers,
  selfId: string,
  name: string,
  answer: (params: Params) => Answer | Promise<Answer>,
  keyOf: (params: Params) => string,
): OwnerQuestion<Answer, Params> {
  peers.handle(name, (params) => answer(params as Params));
  return (params) => {
    const owner = peers.ownerOf(keyOf(params));
    if (owner === selfId) return answer(params);
    return peers.request(owner, name, params, { signal: AbortSignal.timeout(ANSWER_MS) }) as Promise<Answer>;
  };
}
