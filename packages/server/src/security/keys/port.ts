import type { RateLimit, Role } from "@kube-serverless/contracts";

/** One secret of a key: after a rotation there are two for a while. */
export interface StoredSecret {
  /** SHA-256 of the whole key. */
  hash: Uint8Array;
  /** Undefined for the current one. */
  validUntilMs?: number;
}

/** A key as it is kept: enough to know it, nothing to make it from. */
export interface StoredApiKey {
  id: string;
  name: string;
  role: Role;
  functions: readonly string[];
  createdAtMs: number;
  expiresAtMs?: number;
  lastUsedAtMs?: number;
  rateLimit?: RateLimit;
  maxConcurrency?: number;
  /** The current one first. */
  secrets: readonly StoredSecret[];
}

/** Where keys are kept. What resolves is durable. */
export interface ApiKeyStore {
  load(): Promise<StoredApiKey[]>;
  /** Adds, or replaces the one of this id. */
  put(key: StoredApiKey): Promise<void>;
  remove(id: string): Promise<void>;
  /** Notes uses, of keys that still exist; may lose the last minute in a crash. */
  saveLastUse(uses: ReadonlyMap<string, number>): Promise<void>;
}
