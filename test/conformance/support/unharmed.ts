import assert from "node:assert/strict";
import type { Platform } from "./platform.ts";

/** A function that minds its own business, and must be able to, whatever others do. */
export class Bystander {
  readonly #platform: Platform;
  #name = "";

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  async deploy(): Promise<void> {
    this.#name = await this.#platform.deploy({ code: "exports.handler = (event) => event.body;", minReplicas: 1 });
  }

  /** Asserts that the bystander and the server go on. */
  async isUnharmed(): Promise<void> {
    const startMs = performance.now();
    const [answer, health] = await Promise.all([
      this.#platform.invoke(this.#name, { fine: true }),
      this.#platform.send({ path: "/health" }),
    ]);
    assert.deepEqual([answer.status, answer.json.body, health.status], [200, { fine: true }, 200], answer.text);
    assert.ok(performance.now() - startMs < 5000, "the bystander was kept waiting");
  }
}
