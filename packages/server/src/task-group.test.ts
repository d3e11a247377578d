import assert from "node:assert/strict";
import { test } from "node:test";
import { TaskGroup } from "./task-group.ts";

test("a failure is logged with its name and cause, counted, and nothing else", async () => {
  const lines: object[] = [];
  const tasks = new TaskGroup({ error: (fields, message) => lines.push({ ...fields, message }) });
  const cause = new Error("disk gone");
  tasks.run("flush", () => Promise.reject(cause));
  tasks.run("flush", () => {
    throw cause;
  });
  tasks.run("other", () => undefined);
  await tasks.drain();
  assert.deepEqual(lines, [
    { task: "flush", err: cause, message: "background work failed" },
    { task: "flush", err: cause, message: "background work failed" },
  ]);
  assert.deepEqual([...tasks.failures], [["flush", 2]]);
});

test("drain waits for work that running work started", async () => {
  const tasks = new TaskGroup({ error: () => assert.fail("nothing fails here") });
  const done: string[] = [];
  tasks.run("first", async () => {
    await new Promise(setImmediate);
    tasks.run("second", async () => {
      await new Promise(setImmediate);
      done.push("second");
    });
    done.push("first");
  });
  await tasks.drain();
  assert.deepEqual(done, ["first", "second"]);
  assert.equal(tasks.size, 0);
});
