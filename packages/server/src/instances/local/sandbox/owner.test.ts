import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isAbandonedCgroup, nameOwnedCgroup, OwnerRecord, parseOwner } from "./owner.ts";
import { readStartTime } from "./process-tree.ts";

test("two sandboxes of one server have records of their own, which are gone with them", () => {
  const folder = mkdtempSync(join(tmpdir(), "ks-owner-"));
  const [first, second] = [new OwnerRecord(folder), new OwnerRecord(folder)];
  assert.notEqual(first.name, second.name);
  assert.equal(parseOwner(first.name)?.pid, process.pid);
  first.remove();
  assert.deepEqual(readdirSync(join(folder, "owners")), [second.name]);
  rmSync(folder, { recursive: true });
});

test("a control group is abandoned when its server has ended, and a later process of the same pid is not its server", () => {
  const own = readStartTime(process.pid);
  assert.equal(isAbandonedCgroup(nameOwnedCgroup(`${process.pid}-${own}-1`)), false);
  assert.equal(isAbandonedCgroup(nameOwnedCgroup(`${process.pid}-1-1`)), true);
  assert.equal(isAbandonedCgroup(nameOwnedCgroup("4194304-1")), true);
  for (const other of ["kube-serverless-server", "user.slice", "kube-serverless-x-1"]) assert.equal(isAbandonedCgroup(other), false);
});
