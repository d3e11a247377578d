import { describe, test } from "node:test";
import { IS_FULL, readVolume } from "../../support/fault-volume.ts";
import { seededRandom } from "../store/random.ts";
import { AREAS, type Point } from "./kill/points.ts";
import { World } from "./kill/world.ts";

/** The first of the seeds, each of which is a world of its own: `KS_KILL_SEED=7 KS_KILL_SEEDS=1` plays the seventh again. */
const FIRST_SEED = readVolume("KS_KILL_SEED", { brief: 1, full: 1 });
const SEEDS = readVolume("KS_KILL_SEEDS", { brief: 1, full: 20 });
/** How often each point is met under a seed: at a pass by chance, and in the full volume at the first one, too. */
const PASSES = IS_FULL ? 2 : 1;
/** A life may end before the pass that was chosen comes; then the next ones die at the first. */
const MOST_LIVES = 4;

describe("a server that is killed loses nothing it has promised, and leaves nothing behind", () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    for (const [area, points] of Object.entries(AREAS)) {
      test(`at ${area}, seed ${seed}`, { timeout: 300_000 * PASSES ** 2 }, async (t) => {
        const random = seededRandom(seed);
        const world = await World.create(random);
        t.after(() => world.dispose());
        const lives: string[] = [];
        for (const point of points) {
          lives.push(...(await dieAt(world, point, 1 + Math.floor(random() * point.latest))));
          if (PASSES > 1) lives.push(...(await dieAt(world, point, 1)));
        }
        lives.push(`any instant: ${await world.live(undefined)}`);
        const end = await world.finish();
        t.diagnostic(JSON.stringify({ seed, ...end, startsMs: world.startsMs, lives }));
      });
    }
  }
});

/** Lives until one has met the point, and how each of them ended. */
async function dieAt(world: World, { name, standstillMs }: Point, pass: number): Promise<string[]> {
  const ends: string[] = [];
  for (let life = 1; life <= MOST_LIVES; life++) {
    const failpoint = `${name}:${life === 1 ? pass : 1}${standstillMs === undefined ? "" : `:${standstillMs}`}`;
    const end = await world.live(failpoint);
    ends.push(`${failpoint}: ${end}`);
    if (end !== "killed") return ends;
  }
  throw new Error(`${name} was not met in ${MOST_LIVES} lives: ${ends.join(", ")}`);
}
