import { describe, test } from "node:test";
import { seededRandom } from "../store/random.ts";
import { World } from "./kill/world.ts";

/** The store's thread stands still so long before it dies: an answer that did not wait for its commit gets out meanwhile. */
const STANDSTILL_MS = 300;

interface Point {
  name: string;
  /** The latest pass that still comes within a life. */
  latest: number;
  standstillMs?: number;
}

function inStore(name: string, latest: number): Point {
  return { name: `store.${name}`, latest, standstillMs: STANDSTILL_MS };
}

const AREAS: Record<string, readonly Point[]> = {
  "the store's commits": [
    inStore("before-commit", 60),
    { name: "store.in-transaction", latest: 120 },
    inStore("after-commit", 60),
    { name: "store.after-reply", latest: 60 },
    { name: "store.before-checkpoint", latest: 1 },
    { name: "store.after-checkpoint", latest: 1 },
  ],
  "the steps of a deploy": [
    inStore("functions.put", 3),
    inStore("functions.put", 8),
    { name: "deploy.after-commit", latest: 3 },
    { name: "update.after-commit", latest: 4 },
    { name: "build.before-commit", latest: 4 },
    { name: "build.after-commit", latest: 4 },
    inStore("functions.remove", 2),
    { name: "delete.before-reply", latest: 2 },
  ],
  "the steps of a message": [
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
    inStore("cron.finish", 2),
  ],
};

const SEED = Number(process.env["KS_KILL_SEED"] ?? 1);
/** Rounds over all points. */
const ROUNDS = Number(process.env["KS_KILL_ROUNDS"] ?? 1);

describe("a server that is killed loses nothing it has promised, and leaves nothing behind", () => {
  for (const [area, points] of Object.entries(AREAS)) {
    test(`at ${area}`, { timeout: 110_000 * ROUNDS }, async (t) => {
      const random = seededRandom(SEED);
      const world = await World.create(random);
      t.after(() => world.dispose());
      const ends: string[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const { name, latest, standstillMs } of points) {
          const failpoint = `${name}:${1 + Math.floor(random() * latest)}${standstillMs === undefined ? "" : `:${standstillMs}`}`;
          ends.push(`${failpoint} ${await world.live(failpoint)}`);
        }
        ends.push(`any instant ${await world.live(undefined)}`);
      }
      const end = await world.finish();
      t.diagnostic(JSON.stringify({ seed: SEED, ...end, startsMs: world.startsMs, ends }));
    });
  }
});
