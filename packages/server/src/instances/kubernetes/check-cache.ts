import { createHash } from "node:crypto";
import type { RevisionRef } from "../port.ts";

const MAX_ENTRIES = 10_000;

/** Which code has loaded well, so that the same is not loaded once more only to see that. Failures are not kept: they may be chance. */
export class CheckCache {
  readonly #versions = new Map<string, string>();

  /** Of everything that loading depends on. */
  keyOf({ spec }: RevisionRef, code: string, image: string): string {
    const { handler, runtime, memory, network, environment } = spec;
    const facts = JSON.stringify([
      runtime,
      handler,
      memory,
      network,
      Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1)),
      image,
    ]);
    return createHash("sha256").update(facts).update("\0").update(code).digest("base64");
  }

  /** Version of the runtime that loaded it. */
  find(key: string): string | undefined {
    return this.#versions.get(key);
  }

  add(key: string, runtimeVersion: string): void {
    const oldest = this.#versions.keys().next().value;
    if (this.#versions.size >= MAX_ENTRIES && oldest !== undefined) this.#versions.delete(oldest);
    this.#versions.set(key, runtimeVersion);
  }
}
