import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Staging } from "./staging.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

describe("staging", () => {
  let root: string;
  let folder: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "ks-staging-"));
    folder = join(root, "stage");
    mkdirSync(join(root, "kit/bin"), { recursive: true });
    writeFileSync(join(root, "kit/bin/run"), "program", { mode: 0o700 });
    writeFileSync(join(root, "kit/data"), "data", { mode: 0o600 });
    symlinkSync("../data", join(root, "kit/bin/link"));
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const modeOf = (path: string) => statSync(path).mode & 0o777;

  test("what others can't read is copied, readable by all, links and all", async () => {
    const { source, target } = await new Staging({ folder, otherUsers: true }).stage(join(root, "kit"));
    assert.equal(dirname(dirname(source)), folder);
    assert.match(target, /^\/runtime\/[0-9a-f]{16}\/kit$/);
    assert.equal(readFileSync(join(source, "bin/link"), "utf8"), "data");
    assert.deepEqual(
      [source, join(source, "bin"), join(source, "bin/run"), join(source, "data")].map(modeOf),
      [0o755, 0o755, 0o755, 0o644],
    );
  });

  test("what everyone can read is bound where it lies", async () => {
    for (const path of ["", "kit", "kit/bin", "kit/bin/run"]) chmodSync(join(root, path), 0o755);
    const { source } = await new Staging({ folder, otherUsers: true }).stage(join(root, "kit/bin/run"));
    assert.equal(source, join(root, "kit/bin/run"));
  });

  test("nothing is copied when sandboxes run as the server's own user", async () => {
    const { source } = await new Staging({ folder, otherUsers: false }).stage(join(root, "kit"));
    assert.equal(source, join(root, "kit"));
    assert.equal(existsSync(folder), false);
  });

  test("programs of the system are inside already", async () => {
    assert.deepEqual(await new Staging({ folder, otherUsers: true }).stage("/usr/bin/env"), {
      source: "/usr/bin/env",
      target: "/usr/bin/env",
    });
  });

  test("the same source is staged once, by many callers and by the next server", async () => {
    const staging = new Staging({ folder, otherUsers: true });
    const all = await Promise.all([1, 2, 3].map(() => staging.stage(join(root, "kit"))));
    const next = await new Staging({ folder, otherUsers: true }).stage(join(root, "kit"));
    assert.deepEqual(
      [...all, next].map(({ source }) => source),
      Array(4).fill(next.source),
    );
    assert.equal(readdirSync(folder).length, 1);
  });

  test("a source that changed is staged anew, and what was staged stays as it was", async () => {
    const staging = new Staging({ folder, otherUsers: true });
    const before = await staging.stage(join(root, "kit"));
    rmSync(join(root, "kit/data"));
    writeFileSync(join(root, "kit/data"), "newer", { mode: 0o600 });
    const after = await staging.stage(join(root, "kit"));
    assert.notEqual(after.target, before.target);
    assert.equal(readFileSync(join(after.source, "data"), "utf8"), "newer");
    assert.equal(readFileSync(join(before.source, "data"), "utf8"), "data");
  });

  test("copies that nobody asked for within a week are removed", async () => {
    const staging = new Staging({ folder, otherUsers: true });
    const { source } = await staging.stage(join(root, "kit"));
    await staging.removeUnused(Date.now() + 6 * DAY_MS);
    assert.ok(existsSync(source));
    utimesSync(dirname(source), new Date(0), new Date(0));
    await staging.removeUnused(Date.now());
    assert.equal(existsSync(source), false);
  });

  test("what another server takes away meanwhile is nobody's loss", async () => {
    const names = Array.from({ length: 50 }, (_, index) => join(folder, `copy-${index}`));
    for (const name of names) {
      mkdirSync(name, { recursive: true });
      utimesSync(name, new Date(0), new Date(0));
    }
    const removing = new Staging({ folder, otherUsers: true }).removeUnused(Date.now());
    while (names.every((name) => existsSync(name))) await new Promise((resolve) => setImmediate(resolve));
    for (const name of names) rmSync(name, { recursive: true, force: true });
    await removing;
    assert.deepEqual(readdirSync(folder), []);
  });

  test("a source that isn't there is told by its name", async () => {
    await assert.rejects(new Staging({ folder, otherUsers: true }).stage(join(root, "gone")), /ENOENT.*gone/);
  });
});
