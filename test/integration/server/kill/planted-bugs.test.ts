import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { IS_FULL } from "../../../support/fault-volume.ts";
import { projectFolder } from "../../../support/server.ts";
import { seededRandom } from "../../store/random.ts";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.ts";
import { World } from "./world.ts";

const OF_A_SERVER = ["packages", "runtimes", "package.json"];

/** A copy of this checkout's server with the defect in it. */
function plant(t: TestContext, { file, replaces, by }: PlantedBug): string {
  const checkout = mkdtempSync(join(tmpdir(), "ks-planted-bug-"));
  t.after(() => rmSync(checkout, { recursive: true, force: true }));
  for (const name of OF_A_SERVER) cpSync(join(projectFolder, name), join(checkout, name), { recursive: true });
  symlinkSync(join(projectFolder, "node_modules"), join(checkout, "node_modules"));
  const path = join(checkout, "packages/server/src", file);
  const source = readFileSync(path, "utf8");
  assert.equal(source.split(replaces).length, 2, `${file} has no longer one place to plant this bug in: ${replaces}`);
  writeFileSync(
    path,
    source.replace(replaces, () => by),
  );
  return checkout;
}

/** All that the kill tests do with a server: some lives and deaths, and a last one that comes to rest. */
async function play(t: TestContext, bug: PlantedBug): Promise<void> {
  const world = await World.create(seededRandom(1), plant(t, bug));
  t.after(() => world.dispose());
  for (const failpoint of bug.failpoints) await world.live(failpoint);
  await world.finish();
}

describe("the kill tests find it when", () => {
  for (const bug of PLANTED_BUGS) {
    const skip = bug.isSlow === true && !IS_FULL;
    if (skip) continue;
    test(bug.name, { timeout: 300_000 }, (t) => assert.rejects(play(t, bug), { message: bug.finding }));
  }
});
