import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { makeScratch, readToEnd, startProgram } from "./scratch.ts";
import { seededRandom } from "./random.ts";
import { type Seen, WRITERS } from "./writer-main.ts";

const FAILPOINTS = ["in-transaction", "before-commit", "after-commit", "after-reply", "before-checkpoint", "after-checkpoint"];
const SEEDS = 20;

interface Line {
  found?: Seen[];
  latest?: number;
  start?: Seen;
  done?: Seen;
  claimed?: number;
  again?: boolean;
  fatal?: string;
  error?: string;
}

/** What a store must hold after any number of deaths: what was acknowledged, or what was being written when it died. */
class Model {
  readonly #allowed = new Map<string, Seen[]>();
  #claimed = 0;
  acknowledged = 0;

  constructor() {
    for (let index = 0; index < WRITERS; index++) this.#settle({ key: `writer-${index}`, generation: 0, codeLength: 0 });
  }

  take({ found, latest, start, done, claimed, again, fatal, error }: Line): void {
    assert.equal(fatal ?? error, undefined);
    if (found !== undefined) this.#check(found, latest ?? 0);
    if (start !== undefined) this.#allowed.get(start.key)?.push(start);
    if (done !== undefined) this.#settle(done);
    if (done !== undefined || claimed !== undefined) this.acknowledged += 1;
    if (claimed !== undefined) {
      assert.equal(again, false, `planned time ${claimed} was claimed before`);
      this.#claimed = claimed;
    }
  }

  #settle(seen: Seen): void {
    this.#allowed.set(seen.key, [seen]);
  }

  #check(found: readonly Seen[], latest: number): void {
    assert.ok(latest === this.#claimed || latest === this.#claimed + 1, `claim ${this.#claimed} became ${latest}`);
    this.#claimed = latest;
    for (const [key, allowed] of this.#allowed) {
      const actual = found.find((seen) => seen.key === key) ?? { key, generation: 0, codeLength: 0 };
      const fits = allowed.some((one) => one.generation === actual.generation && one.codeLength === actual.codeLength);
      assert.ok(fits, `found ${JSON.stringify(actual)}, acknowledged or begun: ${JSON.stringify(allowed)}`);
      this.#settle(actual);
    }
    assert.equal(found.length, found.filter((seen) => this.#allowed.has(seen.key)).length, "something that nobody wrote");
  }
}

/** Each life starts on what the one before left, so that recovery itself is killed, too. */
async function live(folder: string, model: Model, seed: number, failpoint: string, killAfter?: number): Promise<number> {
  const child = startProgram("writer-main.ts", [folder, String(seed), failpoint]);
  const before = model.acknowledged;
  const ended = await readToEnd(child, (line) => {
    model.take(JSON.parse(line) as Line);
    if (killAfter !== undefined && model.acknowledged - before >= killAfter) child.kill("SIGKILL");
  });
  assert.deepEqual([ended.signal, ended.stderr], ["SIGKILL", ""]);
  return model.acknowledged - before;
}

describe("a killed server", () => {
  let scratch: ReturnType<typeof makeScratch>;
  before(() => {
    scratch = makeScratch();
  });
  after(() => scratch.remove());

  for (const point of FAILPOINTS) {
    test(`keeps what it acknowledged when it dies at store.${point}, ${SEEDS} times over`, async () => {
      const folder = `${scratch.path}/${point}`;
      const model = new Model();
      for (let seed = 1; seed <= SEEDS; seed++) {
        const most = point.endsWith("checkpoint") ? 2 : 60;
        const pass = 1 + Math.floor(seededRandom(seed)() * most);
        await live(folder, model, seed, `store.${point}:${pass}`);
      }
      await live(folder, model, 0, "", 1);
      assert.ok(model.acknowledged > SEEDS, `${model.acknowledged} acknowledged in all`);
    });
  }

  test(`keeps what it acknowledged when it dies at any moment, ${SEEDS} times over`, async () => {
    const folder = `${scratch.path}/any`;
    const model = new Model();
    for (let seed = 1; seed <= SEEDS; seed++) await live(folder, model, seed, "", 1 + Math.floor(seededRandom(seed + 1000)() * 300));
    await live(folder, model, 0, "", 1);
  });
});
