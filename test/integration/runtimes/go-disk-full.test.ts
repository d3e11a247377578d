import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const canMount = spawnSync("unshare", ["-m", "true"]).status === 0;
const skip = canMount ? false : "needs to mount a small disk: run as root with util-linux (unshare) installed";

test("on a full disk older programs make room, unless all of them would not be enough", { skip }, async (t) => {
  const mount = await mkdtemp(join(tmpdir(), "ks-go-disk-"));
  t.after(() => rm(mount, { recursive: true, force: true }));
  const script = 'mount -t tmpfs -o size=2m tmpfs "$0" && exec "$@"';
  const main = resolve(import.meta.dirname, "go-disk-full-main.ts");
  const { stdout } = await promisify(execFile)("unshare", [
    "-m",
    "sh",
    "-c",
    script,
    mount,
    process.execPath,
    main,
    join(mount, "artifacts"),
  ]);
  assert.deepEqual(JSON.parse(stdout), {
    // Two of 0.8 MiB fit: the third took the place of the first.
    kept: [false, true, true],
    code: "STORE_UNAVAILABLE",
    message: `The disk is full: free space on the disk of ${join(mount, "artifacts")}, or delete functions; writing goes on by itself then`,
    left: 2,
    again: true,
  });
});
