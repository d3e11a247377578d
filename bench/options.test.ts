import assert from "node:assert/strict";
import { test } from "node:test";
import { OptionError, parseOptions, PARTS } from "./options.ts";

test("without options everything is measured on a quiet machine and written", () => {
  const options = parseOptions([], "/docs")!;
  assert.deepEqual(options.parts, PARTS);
  assert.ok(options.rounds >= 5 && options.samples >= 60);
  assert.equal(options.foreignLimit, 0.15);
  assert.equal(options.allowNoise, false);
  assert.equal(options.outputFolder, "/docs");
});

test("--quick measures less, on any machine, and writes nothing unless told where", () => {
  const options = parseOptions(["--quick", "--assert"], "/docs")!;
  assert.deepEqual(options.parts, ["throughput", "first-calls"]);
  assert.equal(options.allowNoise, true);
  assert.equal(options.assert, true);
  assert.equal(options.outputFolder, undefined);
  assert.equal(parseOptions(["--quick", "--output", "/tmp/x"], "/docs")!.outputFolder, "/tmp/x");
});

test("single figures win over both sets", () => {
  const options = parseOptions(
    ["--quick", "--rounds", "7", "--misses", "0", "--foreign-limit", "40", "--only", "burst,throughput"],
    "/docs",
  )!;
  assert.equal(options.rounds, 7);
  assert.equal(options.misses, 0);
  assert.equal(options.foreignLimit, 0.4);
  assert.deepEqual(options.parts, ["throughput", "burst"]);
  assert.equal(parseOptions(["--only", "burst"], "/docs")!.outputFolder, undefined, "a part would replace the page of a whole run");
});

test("--help asks for nothing else", () => {
  assert.equal(parseOptions(["--help"], "/docs"), undefined);
});

for (const argv of [
  ["--rounds", "0"],
  ["--rounds", "many"],
  ["--only", "everything"],
  ["--frobnicate"],
  ["surplus"],
  ["--seconds", "-1"],
]) {
  test(`${argv.join(" ")} is refused`, () => {
    assert.throws(() => parseOptions(argv, "/docs"), OptionError);
  });
}
