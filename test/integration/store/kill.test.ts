import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { makeScratch, readToEnd, startProgram } from "./scratch.ts";
import { seededRandom } from "./random.ts";
import { type WriterLine, WriterModel } from "./writer-model.ts";

const FAILPOINTS = ["in-transaction", "before-commit", "after-commit", "after-reply", "before-checkpoint", "after-checkpoint"];
const SEEDS = 20;

/** Each life starts on what the one before left, so that recovery itself is killed, too. */
async function live(folder: string, model: WriterModel, seed: number, failpoint: string, killAfter?: number): Promise<number> {
  const child = startProgram("writer-main.ts", [folder, String(seed), failpoint]);
  const before = model.acknowledged;
  const ended = await readToEnd(child, (line) => {
    model.take(JSON.parse(line) as WriterLine);
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
      const model = new WriterModel();
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
    const model = new WriterModel();
    for (let seed = 1; seed <= SEEDS; seed++) await live(folder, model, seed, "", 1 + Math.floor(seededRandom(seed + 1000)() * 300));
    await live(folder, model, 0, "", 1);
  });
});
