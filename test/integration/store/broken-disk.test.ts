import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { makeScratch, readToEnd, startProgram } from "./scratch.ts";
import { type WriterLine, WriterModel } from "./writer-model.ts";

const canInject = spawnSync("strace", ["-V"]).status === 0;
const skip = canInject ? false : "needs strace to make system calls fail: install strace";

describe("a broken disk", { skip }, () => {
  let scratch: ReturnType<typeof makeScratch>;
  before(() => {
    scratch = makeScratch();
  });
  after(() => scratch.remove());

  const faults = [
    { name: "a failed sync", inject: "fdatasync,fsync:error=EIO:when=40" },
    { name: "a failed write", inject: "pwrite64:error=EIO:when=400" },
  ];
  for (const { name, inject } of faults) {
    test(`ends the process at ${name}, and what was acknowledged before is kept`, async () => {
      const folder = `${scratch.path}/${name.replaceAll(" ", "-")}`;
      const [calls = ""] = inject.split(":");
      const strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", `trace=${calls}`, "-e", `inject=${inject}`];
      const ended = await readToEnd(startProgram("writer-main.ts", [folder, "1"], strace));
      const lines = ended.lines.map((line) => JSON.parse(line) as WriterLine);
      assert.equal(ended.code, 70, ended.stderr);
      assert.match(lines.at(-1)?.fatal ?? "", /The store failed at .*state\.db: .*disk I\/O error.*start the server again/);

      const model = new WriterModel();
      for (const line of lines.slice(0, -1)) model.take(line);
      assert.ok(model.acknowledged > 0);
      const next = startProgram("writer-main.ts", [folder, "2"]);
      await readToEnd(next, (line) => {
        model.take(JSON.parse(line) as WriterLine);
        next.kill("SIGKILL");
      });
    });
  }
});
