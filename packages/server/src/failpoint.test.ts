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

test("a setting that cannot be understood says how it is written", () => {
  for (const setting of ["here", "here:0", "here:-1", ":1", "Here:1"]) assert.throws(() => armFailpoint(setting), /name:count/);
});
