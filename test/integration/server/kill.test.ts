import { describe, test } from "node:test";
import { seededRandom } from "../store/random.ts";
import { World } from "./kill/world.ts";

/** Points by area, each with the latest pass that still comes within a life. `undefined`: any instant. */
const AREAS: Record<string, Record<string, number>> = {
  "the store's commits": {
    "store.before-commit": 60,
    "store.in-transaction": 120,
    "store.after-commit": 60,
    "store.after-reply": 60,
    "store.before-checkpoint": 1,
    "store.after-checkpoint": 1,
  },
  "the steps of a deploy": {
    "deploy.after-commit": 3,
    "update.after-commit": 4,
    "build.before-commit": 4,
    "build.after-commit": 4,
    "delete.after-commit": 2,
    "delete.before-reply": 2,
  },
  "the steps of a message": {
    "queue.after-publish": 50,
    "queue.before-settle": 30,
    "queue.after-settle": 30,
  },
  "the steps of a cron run": {
    "cron.after-claim": 2,
    "cron.after-hand-over": 2,
    "cron.before-finish": 2,
  },
};

const SEED = Number(process.env["KS_KILL_SEED"] ?? 1);
/** Rounds over all points; each is about as many lives as there are points. */
const ROUNDS = Number(process.env["KS_KILL_ROUNDS"] ?? 1);

describe("a server that is killed loses nothing it has promised, and leaves nothing behind", () => {
  for (const [area, points] of Object.entries(AREAS)) {
    test(`at ${area}`, { timeout: 110_000 * ROUNDS }, async (t) => {
      const random = seededRandom(SEED);
      const world = await World.create(random);
      t.after(() => world.dispose());
      const ends: string[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const [point, latest] of Object.entries(points)) {
          const failpoint = `${point}:${1 + Math.floor(random() * latest)}`;
          ends.push(`${failpoint} ${await world.live(failpoint)}`);
        }
        ends.push(`any instant ${await world.live(undefined)}`);
      }
      const end = await world.finish();
      t.diagnostic(JSON.stringify({ seed: SEED, ...end, startsMs: world.startsMs, ends }));
    });
  }
});
