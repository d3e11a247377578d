import { KsError } from "@kube-serverless/contracts";
import { defined } from "../../defined.ts";
import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import type { Persisted } from "../../kubernetes/resource.ts";
import { KeyedTurns } from "../../keyed-turns.ts";
import type { CronFailure, CronOutcome, CronRun, CronStore } from "../port.ts";
import { isOpen, type RunChange, readRuns, withChange, withClaim } from "./cron-record.ts";
import { type CronRecordObject, FUNCTION_UID_LABEL, OWNER_MANAGER, ownedBy, type Resources } from "./objects.ts";
import { asking } from "./unavailable.ts";

/** Only the leader writes, but for the moments in which the lead changes hands. */
const MAX_TRIES = 20;

type Triggers = NonNullable<CronRecordObject["triggers"]>;

export interface KubernetesCronStoreOptions {
  client: ApiClient;
  resources: Resources;
  /** Name of a function that is there. */
  nameOf(uid: string): string | undefined;
}

/** Claims of planned times in one small object a function, compared and swapped by its version. */
export class KubernetesCronStore implements CronStore {
  readonly #options: KubernetesCronStoreOptions;
  readonly #known = new Map<string, Persisted<CronRecordObject>>();
  readonly #turns = new KeyedTurns();

  constructor(options: KubernetesCronStoreOptions) {
    this.#options = options;
  }

  claimCronRun({ triggerId, uid, plannedAtMs }: { triggerId: string; uid: string; plannedAtMs: number }): Promise<boolean> {
    return this.#change(uid, (triggers) => withClaim(uid, triggers, triggerId, plannedAtMs));
  }

  async handOverCronRun(triggerId: string, plannedAtMs: number, requestId: string): Promise<void> {
    await this.#changeRun(triggerId, plannedAtMs, { state: "handed-over", requestId });
  }

  async finishCronRun(triggerId: string, plannedAtMs: number, outcome: CronOutcome, failure?: CronFailure): Promise<void> {
    await this.#changeRun(triggerId, plannedAtMs, { state: outcome, ...defined({ failure }) });
  }

  async openCronRuns(): Promise<CronRun[]> {
    const runs = (await this.#readAll()).filter(isOpen);
    return runs.sort((a, b) => a.plannedAtMs - b.plannedAtMs);
  }

  async latestCronRuns(): Promise<Map<string, number>> {
    const latest = new Map<string, number>();
    for (const { triggerId, plannedAtMs } of await this.#readAll())
      latest.set(triggerId, Math.max(plannedAtMs, latest.get(triggerId) ?? Number.NEGATIVE_INFINITY));
    return latest;
  }

  async listCronRuns(uid: string, limit: number): Promise<CronRun[]> {
    const record = await asking(() => this.#options.client.find<CronRecordObject>(this.#options.resources.cronRecords, recordName(uid)));
    const runs = readRuns(uid, record?.triggers);
    return runs.sort((a, b) => b.plannedAtMs - a.plannedAtMs).slice(0, limit);
  }

  /** The record goes with its function; what was known of it may go, too. */
  forget(uid: string): void {
    this.#known.delete(uid);
  }

  async #readAll(): Promise<CronRun[]> {
    const { client, resources } = this.#options;
    const runs: CronRun[] = [];
    let next: string | undefined;
    do {
      const page = await asking(() => client.listPage<CronRecordObject>(resources.cronRecords, { limit: 500, continue: next }));
      for (const record of page.items) {
        const uid = record.metadata.labels?.[FUNCTION_UID_LABEL];
        if (uid !== undefined) runs.push(...readRuns(uid, record.triggers));
      }
      next = page.metadata.continue === "" ? undefined : page.metadata.continue;
    } while (next !== undefined);
    return runs;
  }

  async #changeRun(triggerId: string, plannedAtMs: number, change: RunChange): Promise<void> {
    const uid = this.#uidOf(triggerId);
    if (uid !== undefined) await this.#change(uid, (triggers) => withChange(uid, triggers, triggerId, plannedAtMs, change));
  }

  /** Whose record has the trigger: it was claimed through this object, or its id says it. */
  #uidOf(triggerId: string): string | undefined {
    for (const [uid, { triggers = [] }] of this.#known) if (triggers.some(({ id }) => id === triggerId)) return uid;
    try {
      const [uid] = JSON.parse(triggerId) as unknown[];
      return typeof uid === "string" ? uid : undefined;
    } catch {
      return undefined;
    }
  }

  /** One change after the other; false when `decide` finds nothing to change in what is there. */
  #change(uid: string, decide: (triggers: Triggers) => Triggers | undefined): Promise<boolean> {
    return this.#turns.run(uid, () => asking(() => this.#swap(uid, decide)));
  }

  async #swap(uid: string, decide: (triggers: Triggers) => Triggers | undefined): Promise<boolean> {
    const { client, resources } = this.#options;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const known = this.#known.get(uid) ?? (await client.find<CronRecordObject>(resources.cronRecords, recordName(uid)));
      if (known !== undefined) this.#known.set(uid, known);
      const triggers = decide(known?.triggers ?? []);
      if (triggers === undefined) return false;
      try {
        const written =
          known === undefined
            ? await client.create(resources.cronRecords, this.#build(uid, triggers), { fieldManager: OWNER_MANAGER })
            : await client.replace<CronRecordObject>(resources.cronRecords, { ...known, triggers }, { fieldManager: OWNER_MANAGER });
        this.#known.set(uid, written);
        return true;
      } catch (error) {
        this.#known.delete(uid);
        // Another has written, or the record went with its function.
        if (!hasStatus(error, 409) && !hasStatus(error, 404)) throw error;
      }
    }
    throw new KsError("STORE_UNAVAILABLE", { message: "The record of cron runs is being written by others all the time" });
  }

  #build(uid: string, triggers: Triggers): CronRecordObject {
    const name = this.#options.nameOf(uid);
    const owners = name === undefined ? {} : { ownerReferences: [ownedBy(name, uid)] };
    return { metadata: { name: recordName(uid), labels: { [FUNCTION_UID_LABEL]: uid }, ...owners }, triggers };
  }
}

function recordName(uid: string): string {
  return `cron-${uid}`;
}
