import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ManualClock } from "../../clock.ts";
import { GoArtifacts } from "./go-artifacts.ts";

async function makeFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ks-artifacts-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const PROGRAM = Buffer.alloc(1000, 7);

test("keeps programs across starts, so that they can be executed", async (t) => {
  const folder = await makeFolder(t);
  const clock = new ManualClock();
  const path = await new GoArtifacts({ folder, maxBytes: 10_000, clock }).add("a", PROGRAM);
  assert.equal((await stat(path)).mode & 0o777, 0o555);
  const again = new GoArtifacts({ folder, maxBytes: 10_000, clock });
  assert.equal(await again.find("a"), path);
  assert.deepEqual(await readFile(path), PROGRAM);
  assert.equal(await again.find("b"), undefined);
});

const damages = [
  { name: "truncated", damage: (path: string) => truncate(path, 10) },
  { name: "overwritten", damage: (path: string) => writeFile(path, Buffer.alloc(1000, 8)) },
  { name: "removed", damage: (path: string) => rm(path) },
];

for (const { name, damage } of damages) {
  for (const reopened of [false, true]) {
    test(`throws away a program that was ${name}${reopened ? " while the server was away" : ""}`, async (t) => {
      const folder = await makeFolder(t);
      const clock = new ManualClock();
      let artifacts = new GoArtifacts({ folder, maxBytes: 10_000, clock });
      const path = await artifacts.add("a", PROGRAM);
      assert.equal(await artifacts.find("a"), path);
      await chmod(path, 0o755);
      await damage(path);
      if (reopened) artifacts = new GoArtifacts({ folder, maxBytes: 10_000, clock });
      assert.equal(await artifacts.find("a"), undefined);
      assert.deepEqual(await readdir(folder), []);
      assert.equal(await artifacts.add("a", PROGRAM), path);
      assert.equal(await artifacts.find("a"), path);
    });
  }
}

test("what a crash left half made is removed", async (t) => {
  const folder = await makeFolder(t);
  await writeFile(join(folder, ".half"), "x");
  await new GoArtifacts({ folder, maxBytes: 10_000, clock: new ManualClock() }).find("a");
  assert.deepEqual(await readdir(folder), []);
});

test("the least recently used goes first, also after a restart", async (t) => {
  const folder = await makeFolder(t);
  const clock = new ManualClock();
  let artifacts = new GoArtifacts({ folder, maxBytes: 3000, clock });
  for (const key of ["a", "b", "c"]) {
    await artifacts.add(key, PROGRAM);
    await clock.advance(120_000);
  }
  assert(await artifacts.find("a"));
  artifacts = new GoArtifacts({ folder, maxBytes: 3000, clock });
  await clock.advance(120_000);
  await artifacts.add("d", PROGRAM);
  assert.deepEqual((await readdir(folder)).sort(), ["a", "c", "d"]);
  assert.equal(artifacts.totalBytes, 3000);
});

test("one that is larger than the bound is kept alone", async (t) => {
  const folder = await makeFolder(t);
  const artifacts = new GoArtifacts({ folder, maxBytes: 500, clock: new ManualClock() });
  await artifacts.add("a", PROGRAM);
  await artifacts.add("b", PROGRAM);
  assert.deepEqual(await readdir(folder), ["b"]);
});
