import type { MetricsStore } from "../port.ts";
import type { KubernetesFunctions } from "./kubernetes-functions.ts";

/** Counters in the status of their function, where they are written with what else changes, or twice a minute. */
export class KubernetesMetricsStore implements MetricsStore {
  readonly #functions: KubernetesFunctions;

  constructor(functions: KubernetesFunctions) {
    this.#functions = functions;
  }

  async loadMetrics(): Promise<Map<string, Uint8Array>> {
    const rows = new Map<string, Uint8Array>();
    for (const { metadata, status } of this.#functions.catalogue.functions.values()) {
      if (status.counters !== undefined) rows.set(metadata.uid, Buffer.from(status.counters));
    }
    return rows;
  }

  async saveMetrics(rows: ReadonlyMap<string, Uint8Array>): Promise<void> {
    for (const [uid, row] of rows) this.#functions.noteLive(uid, { counters: Buffer.from(row).toString() });
  }
}
