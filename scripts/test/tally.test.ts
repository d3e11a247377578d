import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTotals, Tally } from "./tally.ts";

test("tests are counted, what stands around them is not", () => {
  const tally = new Tally();
  const file = "/a.test.ts";
  tally.start({ file, name: "parent", nesting: 0 });
  tally.start({ file, name: "good", nesting: 1 });
  tally.pass({ file, name: "good", nesting: 1 });
  tally.start({ file, name: "bad", nesting: 1 });
  const failure = tally.fail({
    file,
    name: "bad",
    nesting: 1,
    details: { error: { failureType: "testCodeFailure", cause: new Error("x") } },
  });
  assert.deepEqual(failure?.path, ["parent", "bad"]);
  assert.equal(tally.fail({ file, name: "parent", nesting: 0, details: { error: { failureType: "subtestsFailed" } } }), undefined);
  tally.start({ file, name: "left out", nesting: 0 });
  tally.pass({ file, name: "left out", nesting: 0, skip: "needs Go: apt install golang" });
  assert.deepEqual([...tally.skipped], [["needs Go: apt install golang", 1]]);
  assert.equal(formatTotals(tally), "1 passed, 1 failed, 1 skipped");
});

test("a run without anything left out ends as scripts expect it", () => {
  const tally = new Tally();
  tally.pass({ name: "one", nesting: 0 });
  assert.equal(formatTotals(tally), "1 passed, 0 failed");
});

test("a file whose process ends is a failure that says how", () => {
  const tally = new Tally();
  const failure = tally.fail({ file: "/a.test.ts", name: "/a.test.ts", nesting: 0, details: { error: { exitCode: 3, signal: null } } });
  assert.deepEqual(failure?.path, []);
  assert.match(failure?.text ?? "", /exit code 3/);
});

const failed = (failureType: string, message = "") => ({ error: { failureType, message } });

test("a test that runs out of time counts once, whatever else tells of it", () => {
  const tally = new Tally();
  const file = "/a.test.ts";
  tally.start({ file, name: "parent", nesting: 0 });
  tally.start({ file, name: "child", nesting: 1 });
  tally.fail({ file, name: "child", nesting: 1, details: failed("cancelledByParent") });
  const parent = tally.fail({ file, name: "parent", nesting: 0, details: failed("testTimeoutFailure", "test timed out after 5ms") });
  assert.equal(parent?.text, "test timed out after 5ms");
  const whole = tally.fail({ file, name: file, nesting: 0, details: { error: { exitCode: 1, signal: null } } });
  assert.match(whole?.text ?? "", /exit code 1/);
  assert.equal(formatTotals(tally), "0 passed, 1 failed");
});

test("a file that is ended from outside fails once, naming what it hung in", () => {
  const tally = new Tally();
  const file = "/a.test.ts";
  tally.begin({ file, name: file, nesting: 0 });
  tally.begin({ file, name: "endless", nesting: 0 });
  const failure = tally.fail({ file, name: file, nesting: 0, details: failed("testAborted") });
  assert.match(failure?.text ?? "", /while 'endless' ran/);
  assert.equal(formatTotals(tally), "0 passed, 1 failed");
});
