import type { ApiKeyStore, StoredApiKey } from "./port.ts";

/** Keys for as long as the object lives: for tests and simulations. */
export class MemoryKeyStore implements ApiKeyStore {
  readonly #keys = new Map<string, StoredApiKey>();

  async load(): Promise<StoredApiKey[]> {
    return [...this.#keys.values()]
      .map((key) => structuredClone(key))
      .sort((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  async put(key: StoredApiKey): Promise<void> {
    this.#keys.set(key.id, structuredClone(key));
  }

  async remove(id: string): Promise<void> {
    this.#keys.delete(id);
  }

  async saveLastUse(uses: ReadonlyMap<string, number>): Promise<void> {
    for (const [id, atMs] of uses) {
      const key = this.#keys.get(id);
      if (key !== undefined) key.lastUsedAtMs = Math.max(atMs, key.lastUsedAtMs ?? 0);
    }
  }
}
