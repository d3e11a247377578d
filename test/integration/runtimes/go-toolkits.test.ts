import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { appendFile, cp, mkdtemp, readdir, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { ManualClock, systemClock } from "../../../packages/server/src/clock.ts";
import { standardLibraryKey } from "../../../packages/server/src/instances/local/go/go-standard-library.ts";
import { ProgramProbes } from "../../../packages/server/src/instances/local/runtimes/program-probes.ts";
import { detectGo, type GoToolchain } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import { GoToolkits } from "../../../packages/server/src/instances/local/go/go-toolkits.ts";
import { GO_CACHE, GO_TOOLKITS, GOS, GO_TOOLCHAINS } from "./gos.ts";

const go = GOS[0]!;
const skip = go.missing ?? false;
const SOURCES = resolve(import.meta.dirname, "../../../runtimes/go");

/** A folder that has the standard library, but no toolkit yet, and a go command that would not run. */
async function makeFolder(t: { after(fn: () => Promise<void>): void }): Promise<{ folder: string; toolchain: GoToolchain }> {
  await GO_TOOLKITS.get(go.program);
  const toolchain = GO_TOOLCHAINS.find(({ program }) => program === go.program)!;
  const folder = await mkdtemp(join(GO_CACHE, "test-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const key = standardLibraryKey(toolchain);
  await promisify(execFile)("cp", ["-al", join(GO_CACHE, "toolkits", key), join(folder, key)]);
  return { folder, toolchain: { ...toolchain, program: "/nowhere/go" } };
}

test("the standard library is compiled once, the shim whenever it changes", { skip }, async (t) => {
  const { folder, toolchain } = await makeFolder(t);
  const sourceFolder = await mkdtemp(join(tmpdir(), "ks-shim-"));
  t.after(() => rm(sourceFolder, { recursive: true, force: true }));
  await cp(SOURCES, sourceFolder, { recursive: true });
  const clock = new ManualClock(Date.now());
  const open = (): GoToolkits => new GoToolkits({ toolchains: [toolchain], sourceFolder, folder, clock });

  const first = await open().get(toolchain.program);
  assert.equal((await open().get(toolchain.program)).folder, first.folder);
  assert(first.packages.has("encoding/json") && !first.packages.has("internal/abi"));
  assert(first.httpPackages.has("expvar") && !first.httpPackages.has("net"));

  await appendFile(join(sourceFolder, "shim/shim.go"), "\n// changed\n");
  const changed = open();
  const second = await changed.get(toolchain.program);
  assert.notEqual(second.folder, first.folder);
  await changed.prepare([toolchain.program]);
  assert.equal((await readdir(folder)).length, 3);

  await clock.advance(8 * 24 * 60 * 60 * 1000);
  await open().prepare([toolchain.program]);
  assert.deepEqual((await readdir(folder)).sort(), [second.folder.slice(folder.length + 1), standardLibraryKey(toolchain)].sort());
});

test("a toolkit that lost something is made anew", { skip }, async (t) => {
  const { folder, toolchain } = await makeFolder(t);
  const open = (): GoToolkits => new GoToolkits({ toolchains: [toolchain], sourceFolder: SOURCES, folder, clock: systemClock });
  const { launcher } = await open().get(toolchain.program);
  await truncate(launcher, 10);
  const again = await open().get(toolchain.program);
  await promisify(execFile)(again.launcher, [], { timeout: 5000 }).catch((error: { stderr: string }) =>
    assert.match(error.stderr, /launcher: bad file descriptor/),
  );
});

test("whoever asks for one that can't be made is told why, and the next one tries again", { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ks-toolkits-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const toolchain: GoToolchain = { ...GO_TOOLCHAINS[0]!, program: "/nowhere/go" };
  const toolkits = new GoToolkits({ toolchains: [toolchain], sourceFolder: SOURCES, folder, clock: systemClock });
  await assert.rejects(toolkits.getAny(), /nowhere/);
  await assert.rejects(toolkits.prepare([toolchain.program]), /nowhere/);
  assert.deepEqual(await readdir(folder), []);
});

test("every Go is found once, by its real version", { skip }, async () => {
  const { installed: found, rejected } = await detectGo({
    searchPath: ["/usr/local/go/bin", "/usr/lib/go-1.19/bin", "/nowhere"],
    named: new Map([["go119", "/usr/lib/go-1.19/bin/go"]]),
    probes: await ProgramProbes.open(undefined),
  });
  assert.equal(found[0]?.version.startsWith("1.19."), true);
  assert.deepEqual(
    found
      .map(({ line }) => line)
      .filter((line) => line === "1.19" || line === "1.26")
      .sort(),
    ["1.19", "1.26"],
  );
  assert.deepEqual(rejected, []);
  assert(found.every(({ language, prefix }) => language === "go" && prefix === undefined));
});
