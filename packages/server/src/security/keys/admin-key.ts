import { timingSafeEqual } from "node:crypto";
import type { Principal } from "../principal.ts";
import type { ApiKeys } from "./api-keys.ts";
import { hashKey } from "./key-text.ts";

/** What 128 bits need in base 16; a generated one has more. */
export const MIN_ADMIN_KEY_LENGTH = 32;

const ADMIN: Principal = {
  subject: "admin",
  kind: "admin-key",
  name: "admin key",
  grants: [{ role: "admin", functions: ["*"] }],
  expiresAtMs: undefined,
  rateLimit: undefined,
  maxConcurrency: undefined,
  claims: undefined,
};

/** The key that the configuration gives, any string; never stored. */
export class AdminKey {
  readonly #hash: Buffer;

  constructor(text: string) {
    this.#hash = hashKey(text);
  }

  /** Undefined when it is another one. */
  check(text: string): Principal | undefined {
    return timingSafeEqual(hashKey(text), this.#hash) ? ADMIN : undefined;
  }
}

/** What is wrong with an admin key that was configured, to be read after its option's name; undefined for nothing. */
export function explainAdminKey(text: string): string | undefined {
  if (text.length < MIN_ADMIN_KEY_LENGTH) return `must have ${MIN_ADMIN_KEY_LENGTH} characters or more, such as openssl rand -hex 32 gives`;
  // What a header can carry; a final newline of a file is taken off by whoever reads it.
  if (!/^[\x21-\x7e]+$/.test(text)) return "must be of printable ASCII characters without spaces";
  return undefined;
}

/** Makes the first key, to be shown once, unless there is a way in already. */
export async function bootstrapAdmin(keys: ApiKeys, configured: AdminKey | undefined): Promise<string | undefined> {
  if (configured !== undefined || keys.hasAdmin()) return undefined;
  const { key } = await keys.create({ name: "first admin", role: "admin", functions: ["*"] });
  return key;
}
