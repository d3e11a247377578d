import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isReachableByAll } from "../../../packages/server/src/instances/local/sandbox/staging.ts";
import { isRoot, whyNot } from "./support.ts";

const NOBODY = "65534";
const here = fileURLToPath(new URL(".", import.meta.url));

function whyNotAsUser(): string | false {
  if (!isRoot) return "these tests run as an ordinary user already";
  return isReachableByAll(here)
    ? whyNot("bwrap", "pasta", "ip", "python3", "setpriv")
    : "an ordinary user can't read this checkout: put it where others may enter";
}

for (const file of ["drivers", "hostile", "network"]) {
  test(`as an ordinary user: ${file}`, { skip: whyNotAsUser() }, async () => {
    const user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"];
    const tests = [process.execPath, "--test", "--test-reporter=tap", `${here}${file}.test.ts`];
    const child = spawn("setpriv", [...user, ...tests], {
      env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", HOME: "/tmp" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    const failures = stdout.split("\n").filter((line) => /^\s*not ok/.test(line));
    assert.deepEqual(failures, [], stdout + stderr);
    assert.match(stdout, /^# pass [1-9]/m);
    assert.match(stdout, /^# skipped 0$/m);
  });
}
