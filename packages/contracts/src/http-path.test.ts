import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { methodsOverlap, parsePathPattern, splitPath } from "./http-path.ts";
import { RESERVED_SEGMENTS } from "./trigger.ts";

function shapeOf(path: string): string {
  const parsed = parsePathPattern(path);
  assert.ok("pattern" in parsed, `${path}: ${"problem" in parsed ? parsed.problem : ""}`);
  return parsed.pattern.shape;
}

const refused: [path: string, why: RegExp][] = [
  ["", /begin with/],
  ["users", /begin with/],
  ["//", /empty segment/],
  ["//users", /empty segment/],
  ["/a//b", /empty segment/],
  ["/a/../b", /\. or \.\./],
  ["/a/%2e%2E", /\. or \.\./],
  ["/.", /\. or \.\./],
  ["/%", /bad percent/],
  ["/%zz", /bad percent/],
  ["/%ff", /bad percent/],
  ["/a%2Fb", /slash within/],
  ["/a%5Cb", /slash within/],
  ["/a\\b", /slash within/],
  ["/a?b", /no path may have/],
  ["/a#b", /no path may have/],
  ["/a%00", /no path may have/],
  ["/a\ud800", /no path may have/],
  ["/:", /has ':'/],
  ["/:1a", /has ':1a'/],
  ["/:a-b", /has ':a-b'/],
  ["/:a.json", /has ':a.json'/],
  ["/:__proto__", /has ':__proto__'/],
  ["/:id/x/:id", /:id twice/],
  ["/a*", /only as its last segment/],
  ["/*/a", /only as its last segment/],
  ["/a/**", /only as its last segment/],
  ...RESERVED_SEGMENTS.map((segment): [string, RegExp] => [`/${segment}/x`, /platform's own/]),
  ["/%61pi", /platform's own/],
  ["/docs", /platform's own/],
  ["/fn/*", /platform's own/],
];
for (const [path, why] of refused) {
  test(`'${JSON.stringify(path)}' is refused`, () => {
    const parsed = parsePathPattern(path);
    assert.ok("problem" in parsed);
    assert.match(parsed.problem, why);
  });
}

test("paths are told apart by what they match, not by how they are written", () => {
  assert.equal(shapeOf("/users/:id"), shapeOf("/users/:name"));
  assert.equal(shapeOf("/%75sers"), shapeOf("/users"));
  const different = ["/", "/*", "/a", "/a/", "/a/*", "/A", "/:a", "/%3Aa", "/:a/*", "/%2A", "/é", "/API", "/a/api", "/apix"];
  assert.equal(new Set(different.map(shapeOf)).size, different.length);
});

test("a pattern keeps its segments in order", () => {
  const parsed = parsePathPattern("/users/:id/files/*");
  assert.deepEqual("pattern" in parsed && parsed.pattern, {
    segments: [
      { kind: "literal", value: "users" },
      { kind: "parameter", name: "id" },
      { kind: "literal", value: "files" },
    ],
    wildcard: true,
    shape: "/users/:/files/*",
  });
});

test("a request's path is cut at the raw slash and each segment decoded once", () => {
  assert.deepEqual(splitPath("/a%2Fb/%2561"), { segments: ["a/b", "%61"] });
  assert.deepEqual(splitPath("/a/"), { segments: ["a", ""] });
  assert.deepEqual(splitPath("/"), { segments: [] });
});

test("any text either is refused with a reason or parses the same when its literals are encoded again", () => {
  const piece = fc.oneof(fc.constantFrom(":id", ":x", "*", "", ".", "..", "api", "a%2Fb", "%", "%41"), fc.string({ unit: "binary" }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      const parsed = parsePathPattern(`/${pieces.join("/")}`);
      if ("problem" in parsed) return parsed.problem.length > 0;
      const { segments, wildcard, shape } = parsed.pattern;
      const again = segments.map((segment) =>
        segment.kind === "parameter" ? `:${segment.name}` : encodeURIComponent(segment.value).replaceAll("*", "%2A"),
      );
      if (wildcard) again.push("*");
      assert.equal(shapeOf(`/${again.join("/")}`), shape);
      const first = segments[0];
      assert.ok(first?.kind !== "literal" || !(RESERVED_SEGMENTS as readonly string[]).includes(first.value));
      return true;
    }),
  );
});

test("methods overlap when one is shared or one side takes all", () => {
  assert.equal(methodsOverlap(["GET"], ["POST"]), false);
  assert.equal(methodsOverlap(["GET", "POST"], ["POST"]), true);
  assert.equal(methodsOverlap(undefined, ["POST"]), true);
});
