import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parsePathPattern } from "@kube-serverless/contracts";
import { type Route, RouteTable } from "./route-table.ts";

function route(uid: string, path: string, methods?: readonly string[]): Route {
  const parsed = parsePathPattern(path);
  assert.ok("pattern" in parsed, `${path}: ${JSON.stringify(parsed)}`);
  const config = { path, ...(methods === undefined ? {} : { methods: [...methods] }) } as Route["config"];
  return { uid, functionName: uid, path, methods, config, pattern: parsed.pattern };
}

function tableOf(routes: readonly Route[]): RouteTable {
  const table = new RouteTable();
  for (const uid of new Set(routes.map((each) => each.uid))) {
    table.set(
      uid,
      routes.filter((each) => each.uid === uid),
    );
  }
  return table;
}

function find(table: RouteTable, path: string, method = "GET"): string | undefined {
  const segments = path === "/" ? [] : path.slice(1).split("/");
  const found = table.find(segments, method);
  return found.kind === "match" ? found.match.route.path : undefined;
}

/** What specificity means, said the slow way: compare segment by segment, literal before parameter before wildcard. */
function findSlowly(routes: readonly Route[], segments: readonly string[], method: string): Route | undefined {
  const fits = routes.filter(({ pattern, methods }) => {
    if (methods !== undefined && !methods.includes(method)) return false;
    if (pattern.wildcard ? segments.length < pattern.segments.length : segments.length !== pattern.segments.length) return false;
    return pattern.segments.every((segment, i) => (segment.kind === "literal" ? segment.value === segments[i] : segments[i] !== ""));
  });
  const rank = ({ pattern }: Route): string =>
    [...segments, ""]
      .map((_, i) => {
        const segment = pattern.segments[i];
        if (segment === undefined) return pattern.wildcard ? "3" : "0";
        return segment.kind === "literal" ? "1" : "2";
      })
      .join("");
  return fits.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0];
}

describe("RouteTable", () => {
  test("the most specific path wins: literal over parameter over wildcard", () => {
    const table = tableOf([route("a", "/shop/*"), route("b", "/shop/:id"), route("c", "/shop/new"), route("d", "/:any/new")]);
    assert.equal(find(table, "/shop/new"), "/shop/new");
    assert.equal(find(table, "/shop/7"), "/shop/:id");
    assert.equal(find(table, "/shop/7/deep"), "/shop/*");
    assert.equal(find(table, "/shop"), "/shop/*");
    assert.equal(find(table, "/else/new"), "/:any/new");
    assert.equal(find(table, "/else/old"), undefined);
  });

  test("a dead end behind a literal goes back to the parameter", () => {
    const table = tableOf([route("a", "/a/b/c"), route("b", "/:x/b/d")]);
    assert.equal(find(table, "/a/b/d"), "/:x/b/d");
  });

  test("a parameter takes at least one character, and gives its decoded value", () => {
    const table = tableOf([route("a", "/a/:id")]);
    assert.equal(find(table, "/a/"), undefined);
    const found = table.find(["a", "x/y"], "GET");
    assert.deepEqual(found.kind === "match" && found.match.params, { id: "x/y" });
  });

  test("a method that no route takes is told which are", () => {
    const other = route("a", "/a", ["POST", "PUT"]);
    assert.deepEqual(tableOf([other]).find(["a"], "GET"), { kind: "method", allow: ["POST", "PUT"], routes: [other] });
  });

  test("HEAD goes where GET goes, and is told so", () => {
    const table = tableOf([route("a", "/a", ["GET"]), route("b", "/a", ["HEAD", "PUT"])]);
    assert.equal(find(table, "/a", "HEAD"), "/a");
    const found = table.find(["a"], "DELETE");
    assert.deepEqual(found.kind === "method" && found.allow, ["GET", "HEAD", "PUT"]);
  });

  test("two functions conflict over a path whatever its parameters are called, unless their methods part them", () => {
    const table = tableOf([route("a", "/a/:id", ["GET"])]);
    assert.equal(table.findConflict(route("b", "/a/:other"))?.uid, "a");
    assert.equal(table.findConflict(route("b", "/a/:other", ["POST"])), undefined);
    assert.equal(table.findConflict(route("a", "/a/:id")), undefined);
    assert.equal(table.findConflict(route("b", "/a/literal")), undefined);
  });

  test("finds what the slow definition finds, also after removals", () => {
    const segment = fc.constantFrom("a", "b", ":p", ":q");
    const path = fc
      .tuple(fc.uniqueArray(segment, { maxLength: 3, selector: (each) => each }), fc.boolean())
      .map(([segments, wildcard]) => `/${[...segments, ...(wildcard ? ["*"] : [])].join("/")}`);
    const methods = fc.option(fc.constantFrom(["GET"], ["POST"], ["GET", "POST"]), { nil: undefined });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(path, methods), { maxLength: 8 }),
        fc.array(fc.constantFrom("a", "b", "c", ""), { maxLength: 4 }),
        fc.constantFrom("GET", "POST"),
        fc.nat(7),
        (paths, segments, method, removed) => {
          const table = new RouteTable();
          const kept: Route[] = [];
          for (const [index, [each, allowed]] of paths.entries()) {
            const candidate = route(`f${index}`, each, allowed);
            if (table.findConflict(candidate) !== undefined) continue;
            table.set(candidate.uid, [candidate]);
            kept.push(candidate);
          }
          table.remove(`f${removed}`);
          const left = kept.filter(({ uid }) => uid !== `f${removed}`);
          const found = table.find(segments, method);
          assert.equal(found.kind === "match" ? found.match.route.uid : undefined, findSlowly(left, segments, method)?.uid);
        },
      ),
      { seed: 3, numRuns: 2000 },
    );
  });
});
