import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { FunctionPattern, FunctionPatterns, matchesPattern } from "./function-pattern.ts";

const cases: [pattern: string, name: string, covers: boolean][] = [
  ["orders", "orders", true],
  ["orders", "orders-eu", false],
  ["*", "anything", true],
  ["team-a-*", "team-a-orders", true],
  ["team-a-*", "team-a-", true],
  ["team-a-*", "team-b-orders", false],
  ["*-eu", "orders-eu", true],
  ["a*b*c", "aXbXbXc", true],
  ["a*b*c", "aXbXbX", false],
  ["**", "x", true],
];

for (const [pattern, name, covers] of cases) {
  test(`${pattern} ${covers ? "covers" : "does not cover"} ${name}`, () => assert.equal(matchesPattern(pattern, name), covers));
}

test("patterns cover what the same regular expression does", () => {
  const letters = fc.array(fc.constantFrom("a", "b", "-"), { maxLength: 12 }).map((parts) => parts.join(""));
  const patterns = fc.array(fc.constantFrom("a", "b", "-", "*"), { minLength: 1, maxLength: 8 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(patterns, letters, (pattern, name) => {
      assert.equal(matchesPattern(pattern, name), new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(name));
    }),
    { numRuns: 2000 },
  );
});

test("one pattern is a list of one; what no name can match is refused", () => {
  assert.deepEqual(FunctionPatterns.parse("team-*"), ["team-*"]);
  for (const wrong of ["", "Team", "a/b", "a?", ".*", "x".repeat(51)]) assert.equal(FunctionPattern.safeParse(wrong).success, false, wrong);
  assert.equal(FunctionPatterns.safeParse([]).success, false);
});
