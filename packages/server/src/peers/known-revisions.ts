/** Which gateways are there, and a way to ask them. */
export interface KnownRevisionsPeers {
  readonly view: { readonly members: readonly string[] };
  request(id: string, name: string, params: unknown, options?: { signal?: AbortSignal }): Promise<unknown>;
  handle(name: string, handler: (params: unknown) => unknown): void;
}

export interface KnownRevisionsOptions {
  selfId: string;
  peers: KnownRevisionsPeers;
  /** Whether a call at this gateway would find what this generation says. */
  knows(uid: string, generation: number): boolean;
}

const REQUEST = "knows";
/** Who has not answered by then does not know. */
const ANSWER_MS = 1000;
const MAX_REMEMBERED = 100_000;

interface Question {
  uid: string;
  generation: number;
  settle(known: boolean): void;
}

/** Whether every ready gateway would find what a function says: only then it is `running` for those who ask. */
export class KnownRevisions {
  readonly #options: KnownRevisionsOptions;
  /** The latest generation that all knew; whoever comes later has loaded at least that. */
  readonly #everywhere = new Map<string, number>();
  /** Asked within this turn: one request a gateway for all of them. */
  #questions: Question[] = [];

  constructor(options: KnownRevisionsOptions) {
    this.#options = options;
    options.peers.handle(REQUEST, (params) => this.#answer(params));
  }

  /** At once where it is known already; a promise where others have to be asked. */
  isKnownEverywhere(uid: string, generation: number): boolean | Promise<boolean> {
    if (!this.#options.knows(uid, generation)) return false;
    if ((this.#everywhere.get(uid) ?? 0) >= generation || this.#others().length === 0) return true;
    return new Promise((settle) => {
      this.#questions.push({ uid, generation, settle });
      if (this.#questions.length === 1) setImmediate(() => void this.#ask());
    });
  }

  /** The function is gone. */
  forget(uid: string): void {
    this.#everywhere.delete(uid);
  }

  #others(): string[] {
    return this.#options.peers.view.members.filter((id) => id !== this.#options.selfId);
  }

  async #ask(): Promise<void> {
    const questions = this.#questions;
    this.#questions = [];
    const params = questions.map(({ uid, generation }) => [uid, generation]);
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answers = await Promise.all(this.#others().map((id) => this.#askOne(id, params, signal)));
    questions.forEach(({ uid, generation, settle }, index) => {
      const known = answers.every((answer) => answer === undefined || answer[index] === true);
      if (known) this.#remember(uid, generation);
      settle(known);
    });
  }

  /** Undefined for a gateway that is no longer among the ready ones: no call comes to it. */
  async #askOne(id: string, params: unknown, signal: AbortSignal): Promise<readonly unknown[] | undefined> {
    const answer = await this.#options.peers.request(id, REQUEST, params, { signal }).catch(() => []);
    return this.#others().includes(id) ? (answer as readonly unknown[]) : undefined;
  }

  #remember(uid: string, generation: number): void {
    if (this.#everywhere.size >= MAX_REMEMBERED) this.#everywhere.clear();
    this.#everywhere.set(uid, Math.max(generation, this.#everywhere.get(uid) ?? 0));
  }

  #answer(params: unknown): boolean[] {
    return (params as [string, number][]).map(([uid, generation]) => this.#options.knows(uid, generation));
  }
}
