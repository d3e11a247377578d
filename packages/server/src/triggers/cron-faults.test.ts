import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import { ManualClock } from "../clock.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { CronStore } from "../store/port.ts";
import { TaskGroup } from "../task-group.ts";
import { CronScheduler } from "./cron.ts";

const NOON_MS = Date.UTC(2024, 0, 15, 12);
const MINUTE_MS = 60_000;
const MINUTES = 4;
/** Claim, hand-over and end of each run. */
const WRITES = 3 * MINUTES;
const WRITING: readonly string[] = ["claimCronRun", "handOverCronRun", "finishCronRun"] satisfies (keyof CronStore)[];

type Fault = "before it is done" | "after it is done";

/** The store, but for its n-th write, and each multiple of it with `again`, which is reported as failed. */
function failAt(store: CronStore, n: number, fault: Fault, again: boolean): CronStore {
  let writes = 0;
  return new Proxy(store, {
    get(target, name: keyof CronStore) {
      const method = target[name].bind(target) as (...args: unknown[]) => Promise<unknown>;
      if (!WRITING.includes(name)) return method;
      return async (...args: unknown[]) => {
        writes++;
        const fails = again ? writes % n === 0 : writes === n;
        if (fails && fault === "before it is done") throw new KsError("STORE_UNAVAILABLE");
        const result = await method(...args);
        if (fails) throw new KsError("STORE_UNAVAILABLE");
        return result;
      };
    },
  });
}

async function play(store: CronStore): Promise<string[]> {
  const clock = new ManualClock(NOON_MS);
  const ran: string[] = [];
  const errors: object[] = [];
  const scheduler = new CronScheduler({
    store,
    clock,
    tasks: new TaskGroup({ error: (fields) => errors.push(fields) }),
    log: { warn: () => undefined },
    invoke: async (_uid, { trigger }) => {
      ran.push(trigger.plannedAt.slice(11, 16));
      return { ok: true };
    },
  });
  await scheduler.start([{ uid: "u1", config: { schedule: "* * * * *" } }]);
  for (let passedMs = 0; passedMs < MINUTES * MINUTE_MS + 30_000; passedMs += 250) await clock.advance(250);
  await scheduler.stop({ deadlineMs: 0 });
  assert.deepEqual(errors, []);
  return ran;
}

for (const fault of ["before it is done", "after it is done"] as const) {
  describe(`a write of a cron run that fails ${fault}`, () => {
    for (let n = 1; n <= WRITES + 1; n++) {
      test(`write ${n}: each planned time still runs once, and its end is kept`, () => assertAllRan(n, fault, false));
    }
    for (let n = 2; n <= 5; n++) test(`one write in ${n}: the same`, () => assertAllRan(n, fault, true));
  });
}

async function assertAllRan(n: number, fault: Fault, again: boolean): Promise<void> {
  const store = createMemoryStore();
  assert.deepEqual(await play(failAt(store, n, fault, again)), ["12:01", "12:02", "12:03", "12:04"]);
  const runs = await store.listCronRuns("u1", 100);
  assert.deepEqual(
    runs.map(({ state }) => state),
    Array.from({ length: MINUTES }, () => "succeeded"),
  );
}
