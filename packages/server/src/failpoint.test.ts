import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { armFailpoint, failpoint } from "./failpoint.ts";

test("a failpoint that is not armed does nothing", () => {
  failpoint("somewhere");
  armFailpoint("elsewhere:1");
  failpoint("somewhere");
  armFailpoint(undefined);
  failpoint("elsewhere");
});

test("an armed failpoint kills the process at the pass that was named", () => {
  const program = `
    import { armFailpoint, failpoint } from ${JSON.stringify(new URL("./failpoint.ts", import.meta.url).href)};
    armFailpoint("here:3");
    for (let pass = 1; pass <= 4; pass++) { console.log(pass); failpoint("here"); }`;
  const { signal, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.deepEqual([signal, stdout], ["SIGKILL", "1\n2\n3\n"]);
});

test("an armed failpoint may stand still first, and only its own thread does", () => {
  const program = `
    import { Worker } from "node:worker_threads";
    const { href } = new URL(${JSON.stringify(new URL("./failpoint.ts", import.meta.url).href)});
    const inWorker = "import(" + JSON.stringify(href) + ").then((it) => { it.armFailpoint('here:1:300'); it.failpoint('here'); })";
    new Worker(inWorker, { eval: true });
    let ticks = 0;
    setInterval(() => console.log(++ticks), 20);`;
  const { signal, stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  assert.equal(signal, "SIGKILL");
  assert.ok(stdout.split("\n").length > 3, stdout);
});

test("a setting that cannot be understood says how it is written", () => {
  for (const setting of ["here", "here:0", "here:-1", ":1", "Here:1", "here:1:", "here:1:x"])
    assert.throws(() => armFailpoint(setting), /name:count/);
});
