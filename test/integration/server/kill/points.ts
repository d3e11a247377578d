/** The store's thread stands still so long before it dies: an answer that did not wait for its commit gets out meanwhile. */
const STANDSTILL_MS = 300;

/** A failpoint of the server, as a life of it is to meet it. */
export interface Point {
  name: string;
  /** The latest pass that still comes within a life. */
  latest: number;
  standstillMs?: number;
}

function inStore(name: string, latest: number): Point {
  return { name: `store.${name}`, latest, standstillMs: STANDSTILL_MS };
}

/** What a server is killed at, by the part of its work that this cuts off. */
export const AREAS: Readonly<Record<string, readonly Point[]>> = {
  "the store's commits": [
    inStore("before-commit", 60),
    { name: "store.in-transaction", latest: 120 },
    inStore("after-commit", 60),
    { name: "store.after-reply", latest: 60 },
    { name: "store.before-checkpoint", latest: 1 },
    { name: "store.after-checkpoint", latest: 1 },
    inStore("metrics.save", 2),
    inStore("metrics.remove", 2),
  ],
  "the steps of a deploy": [
    inStore("functions.put", 8),
    { name: "deploy.after-commit", latest: 3 },
    { name: "update.after-commit", latest: 4 },
    { name: "build.before-commit", latest: 4 },
    { name: "build.after-commit", latest: 4 },
    inStore("functions.remove", 2),
    { name: "delete.after-commit", latest: 2 },
    { name: "delete.before-reply", latest: 2 },
  ],
  "the steps of a message": [
    inStore("queue.recover", 1),
    inStore("queue.declare", 2),
    inStore("queue.publish", 50),
    { name: "queue.after-publish", latest: 50 },
    inStore("queue.claim", 20),
    { name: "queue.before-settle", latest: 30 },
    inStore("queue.settle", 30),
    { name: "queue.after-settle", latest: 30 },
  ],
  "the steps of a cron run": [
    inStore("cron.claim", 2),
    { name: "cron.after-claim", latest: 2 },
    inStore("cron.handOver", 2),
    { name: "cron.after-hand-over", latest: 2 },
    { name: "cron.before-finish", latest: 2 },
    inStore("cron.finish", 2),
  ],
};

const WITH_AUTHENTICATION = "test/integration/security/kill.test.ts";

/** Failpoints that a working server does not pass, and where they are met instead. */
export const ELSEWHERE: Readonly<Record<string, string>> = {
  "store.in-migration": "test/integration/store/client.test.ts",
  "store.keys.put": WITH_AUTHENTICATION,
  "store.keys.remove": WITH_AUTHENTICATION,
  "store.keys.saveLastUse": WITH_AUTHENTICATION,
  "store.budgets.save": WITH_AUTHENTICATION,
  "store.budgets.remove": WITH_AUTHENTICATION,
};
