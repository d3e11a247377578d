import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createCgroupV2 } from "./cgroup-v2.ts";

/** The files of a tree as the kernel shows it, without what the kernel does: what is written can be read back. */
describe("control groups of the second version", () => {
  let root: string;
  const own = () => join(root, "user.slice", "session.scope");
  const write = (group: string, name: string, text: string) => {
    mkdirSync(group, { recursive: true });
    writeFileSync(join(group, name), text);
  };
  const read = (...path: string[]) => readFileSync(join(...path), "utf8");
  const make = (group: string, pids: string, controllers: string) => {
    write(group, "cgroup.procs", pids);
    write(group, "cgroup.subtree_control", controllers);
    if (group !== root) write(group, "cgroup.type", "domain\n");
  };
  /** The kernel makes it with the folder; here it is there before. */
  const makeParentReady = (above: string) => write(join(above, "ours"), "cgroup.subtree_control", "memory pids\n");

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "ks-cgroup-"));
    make(root, "1\n", "cpu memory pids\n");
    make(dirname(own()), "", "memory pids\n");
    make(own(), "42\n", "memory pids\n");
  });
  afterEach(() => rmSync(root, { recursive: true }));

  test("a server alone in its group moves to a leaf and makes groups beside it", () => {
    makeParentReady(own());
    const driver = createCgroupV2({ path: own(), root }, "ours", 42);
    assert.deepEqual(driver?.parents, [join(own(), "ours")]);
    assert.equal(read(own(), "kube-serverless-server", "cgroup.procs"), "42");
  });

  test("a group with others in it is left alone, the one above is taken", () => {
    make(own(), "42\n77\n", "");
    makeParentReady(dirname(own()));
    const driver = createCgroupV2({ path: own(), root }, "ours", 42);
    assert.deepEqual(driver?.parents, [join(dirname(own()), "ours")]);
    assert.equal(existsSync(join(own(), "kube-serverless-server")), false);
  });

  test("where the memory controller is not passed on there is no driver", () => {
    for (const group of [own(), dirname(own()), root]) make(group, "42\n", "cpu\n");
    for (const group of [own(), dirname(own()), root]) rmSync(join(group, "cgroup.subtree_control"));
    for (const group of [own(), dirname(own()), root]) mkdirSync(join(group, "cgroup.subtree_control"));
    assert.equal(createCgroupV2({ path: own(), root }, "ours", 42), undefined);
  });

  test("limits are set, use and peak are read", () => {
    makeParentReady(own());
    const driver = createCgroupV2({ path: own(), root }, "ours", 42);
    const group = driver?.create("a-1", { memoryMiB: 64, maxProcesses: 100 });
    const folder = join(own(), "ours", "a-1");
    assert.equal(read(folder, "memory.max"), String(64 * 1024 * 1024));
    assert.deepEqual([read(folder, "memory.swap.max"), read(folder, "memory.oom.group"), read(folder, "pids.max")], ["0", "1", "100"]);
    assert.deepEqual(group?.joinFiles, [join(folder, "cgroup.procs")]);
    write(folder, "memory.current", String(50 * 1024 * 1024));
    write(folder, "memory.stat", `anon 1\ninactive_file ${10 * 1024 * 1024}\n`);
    write(folder, "memory.peak", String(60 * 1024 * 1024));
    write(folder, "memory.events", "oom 2\noom_kill 1\n");
    assert.deepEqual([group?.currentMiB(), group?.peakMiB(), group?.oomKills(), group?.isEmpty()], [40, 60, 1, true]);
    group?.kill();
    assert.equal(read(folder, "cgroup.kill"), "1");
  });
});
