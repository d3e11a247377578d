import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { KsError } from "../../../packages/contracts/src/index.ts";
import { EMBEDDED_QUEUE_MODULE, openEmbeddedQueues } from "../../../packages/server/src/queue/sqlite/driver.ts";
import { createSqliteClient, type SqliteClient } from "../../../packages/server/src/store/sqlite/client.ts";
import { TEST_POLICY } from "./harness.ts";
import { ACK, fail, subscriptionOf, textMessage, textOf, until } from "./queue-support.ts";

const WRITES: readonly string[] = ["queue.declare", "queue.publish", "queue.claim", "queue.settle"];
/** More than the workload has, and a few that none reaches. */
const MOST_WRITES = 16;
const TEXTS = ["good", "once more", "never good"];

/** The real store, whose n-th write is refused as on a full disk. */
function refuseWrite(client: SqliteClient, n: number): SqliteClient {
  let writes = 0;
  const run = async (operation: string, args?: unknown): Promise<unknown> => {
    if (WRITES.includes(operation) && ++writes === n) throw new KsError("STORE_UNAVAILABLE");
    return client.run(operation, args);
  };
  return new Proxy(client, { get: (target, name) => (name === "run" ? run : Reflect.get(target, name, target)) });
}

/** As a publisher does that is told 503. */
async function insist(change: () => Promise<void>): Promise<void> {
  await change().catch((error: KsError) => {
    assert.equal(error.code, "STORE_UNAVAILABLE");
    return change();
  });
}

describe("embedded queue, one of whose writes is refused", { concurrency: 4 }, () => {
  for (let n = 1; n <= MOST_WRITES; n++) {
    test(`write ${n}: every message is done or dead, none twice`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), "ks-queue-faults-"));
      const client = await createSqliteClient({ folder, modules: [EMBEDDED_QUEUE_MODULE], onFatal: (error) => assert.fail(error) });
      const driver = await openEmbeddedQueues({ client: refuseWrite(client, n), retryPolicy: TEST_POLICY });
      t.after(async () => {
        await driver.stop({ deadlineMs: 0 });
        await client.stop();
        rmSync(folder, { recursive: true, force: true });
      });
      await insist(() => driver.declare({ queue: "work" }));
      for (const text of TEXTS) await insist(() => driver.publish("work", textMessage(text)));
      const attempts = new Map<string, number>();
      const done: string[] = [];
      const handle = async (delivery: Parameters<Parameters<typeof subscriptionOf>[1]>[0]) => {
        const text = textOf(delivery);
        attempts.set(text, (attempts.get(text) ?? 0) + 1);
        if (text === "never good" || (text === "once more" && attempts.get(text) === 1)) return fail("not now");
        done.push(text);
        return ACK;
      };
      driver.consume(subscriptionOf("work", handle, { maxAttempts: 2 }));
      await until("all settled", async () => {
        const stats = await driver.stats("work");
        return stats?.ready === 0 && stats.unacked === 0 && stats.dead === 1;
      });
      assert.deepEqual(done.toSorted(), ["good", "once more"]);
      assert.deepEqual(Object.fromEntries(attempts), { good: 1, "once more": 2, "never good": 2 });
    });
  }
});
