import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { KubernetesCronStore } from "../../../packages/server/src/store/kubernetes/cron-store.ts";
import { resourcesIn } from "../../../packages/server/src/store/kubernetes/objects.ts";
import type { CronStore } from "../../../packages/server/src/store/port.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { describeCronStore } from "../store/cron-suite.ts";
import { installDefinitions, useApiServer } from "./support.ts";

describe("cron claims in a cluster", { skip: apiServerMissing() }, () => {
  const api = useApiServer(installDefinitions);

  const open = (): CronStore => new KubernetesCronStore({ client: api.client, resources: resourcesIn("default"), nameOf: () => undefined });

  describeCronStore(async () => ({ store: open(), restart: async () => open() }));

  test("two leaders at once never both get a planned time", async () => {
    const stores = [open(), open(), open()];
    for (let plannedAtMs = 1000; plannedAtMs <= 10_000; plannedAtMs += 1000) {
      const claims = await Promise.all(stores.map((store) => store.claimCronRun({ triggerId: '["both"]', uid: "both", plannedAtMs })));
      assert.equal(claims.filter(Boolean).length, 1);
    }
  });

  test("why runs failed is kept of the newest, so that the record stays small", async () => {
    const store = open();
    const key = { triggerId: '["failing"]', uid: "failing" };
    for (let plannedAtMs = 1; plannedAtMs <= 12; plannedAtMs++) {
      await store.claimCronRun({ ...key, plannedAtMs });
      await store.handOverCronRun(key.triggerId, plannedAtMs, `request-${plannedAtMs}`);
      await store.finishCronRun(key.triggerId, plannedAtMs, "failed", { code: "TIMEOUT", error: "ы".repeat(300) });
    }
    const runs = await store.listCronRuns("failing", 100);
    assert.deepEqual(new Set(runs.map(({ state }) => state)), new Set(["failed"]));
    assert.equal(runs.filter(({ failure }) => failure !== undefined).length, 10);
    assert.deepEqual(runs.at(-1), { ...key, plannedAtMs: 1, state: "failed", requestId: "request-1" });
  });
});
