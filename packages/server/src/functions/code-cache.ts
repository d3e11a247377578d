/** Source code by revision, least recently used first out, so that a cold start mostly needs no read. */
export class CodeCache {
  readonly #maxBytes: number;
  readonly #entries = new Map<string, string>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(uid: string, revision: number): string | undefined {
    const key = `${uid}/${revision}`;
    const code = this.#entries.get(key);
    if (code === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, code);
    return code;
  }

  set(uid: string, revision: number, code: string): void {
    const key = `${uid}/${revision}`;
    this.#remove(key);
    this.#entries.set(key, code);
    this.#bytes += code.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    const code = this.#entries.get(key);
    if (code === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= code.length;
  }
}
