import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { QueueDriver, Subscription } from "../../../packages/server/src/queue/port.ts";
import { Books } from "./books.ts";
import { openQueues } from "./open-queues.ts";
import { ACK, until } from "./queue-support.ts";
import { Workload } from "./workload.ts";

const LIMITS = { maxAttempts: 4, leastAccepted: 1 };

function keepBooks(...changes: ((books: Books) => void)[]): Books {
  const books = new Books();
  for (const id of ["a", "b", "c"]) {
    books.published.add(id);
    books.accepted.add(id);
  }
  books.done.add("a").add("b");
  books.dead.add("c");
  books.deliver(4);
  for (const change of changes) change(books);
  return books;
}

describe("books of messages that", () => {
  test("balance are passed, an unacknowledged one done or not", () => {
    keepBooks().check(LIMITS);
    const unacknowledged = keepBooks(({ published }) => published.add("d").add("e"));
    unacknowledged.done.add("d");
    unacknowledged.check(LIMITS);
  });

  const violations: [string, (books: Books) => void, RegExp][] = [
    ["miss an accepted one", ({ done }) => void done.delete("b"), /neither done nor dead/],
    ["miss a dead one", ({ dead }) => dead.clear(), /neither done nor dead/],
    ["have one from nowhere", ({ done }) => void done.add("x"), /never published/],
    ["have a dead one from nowhere", ({ dead }) => void dead.add("x"), /never published/],
    ["were tried too often", (books) => books.deliver(5), /attempt 5 of 4/],
    ["are of a workload that did not run", (books) => ["a", "b", "c"].forEach((id) => books.accepted.delete(id)), /did not run/],
  ];
  for (const [what, change, finding] of violations) {
    test(`${what} are refused`, () => assert.throws(() => keepBooks(change).check(LIMITS), { message: finding }));
  }
});

/** Queues that keep what they promise but for one bug. */
async function openWith(t: TestContext, plant: (driver: QueueDriver) => Partial<QueueDriver>): Promise<QueueDriver> {
  const folder = mkdtempSync(join(tmpdir(), "ks-planted-queue-"));
  const driver = await openQueues({ kind: "embedded", folder });
  t.after(async () => {
    await driver.stop({ deadlineMs: 0 });
    rmSync(folder, { recursive: true, force: true });
  });
  const { declare, publish, stats, consume, stop } = driver;
  const bound = { declare, publish, stats, consume, stop };
  for (const name of Object.keys(bound) as (keyof typeof bound)[]) bound[name] = driver[name].bind(driver) as never;
  return { kind: driver.kind, connected: true, ...bound, ...plant(driver) };
}

describe("the workload of the broker tests", () => {
  const play = async (driver: QueueDriver): Promise<void> => {
    const load = new Workload(driver, { recoveryMs: 5_000, publishMs: 10_000 });
    await load.start();
    await until("well under way", () => load.books.accepted.size > 100);
    await load.finish();
  };
  const consumeWith = (driver: QueueDriver, change: (subscription: Subscription) => Subscription["handle"]) => ({
    consume: (subscription: Subscription) => driver.consume({ ...subscription, handle: change(subscription) }),
  });

  test("passes queues without a bug", async (t) => play(await openWith(t, () => ({}))));

  const bugs: [string, (driver: QueueDriver) => Partial<QueueDriver>, RegExp][] = [
    [
      "accept messages that they have not stored",
      (driver) => {
        let count = 0;
        return { publish: async (...args) => (++count % 40 === 0 ? undefined : driver.publish(...args)) };
      },
      /neither done nor dead/,
    ],
    [
      "acknowledge before the handler has run",
      (driver) =>
        consumeWith(driver, ({ handle }) => async (delivery) => {
          void handle(delivery);
          return ACK;
        }),
      /neither done nor dead/,
    ],
    [
      "count no attempts",
      (driver) =>
        consumeWith(
          driver,
          ({ handle }) =>
            (delivery) =>
              handle({ ...delivery, attempt: delivery.attempt + 3 }),
        ),
      /attempt [5-7] of 4|neither done nor dead/,
    ],
    [
      "deliver what nobody published",
      (driver) => {
        let count = 0;
        return consumeWith(
          driver,
          ({ handle }) =>
            (delivery) =>
              handle(++count === 50 ? { ...delivery, messageId: "nobody's" } : delivery),
        );
      },
      /never published|neither done nor dead/,
    ],
    [
      "refuse without saying that it is for now",
      (driver) => {
        let count = 0;
        return {
          publish: async (...args) => {
            if (++count === 30) throw new Error("socket closed");
            return driver.publish(...args);
          },
        };
      },
      /socket closed/,
    ],
  ];
  for (const [what, plant, finding] of bugs) {
    test(`finds queues that ${what}`, async (t) => assert.rejects(play(await openWith(t, plant)), { message: finding }));
  }
});
