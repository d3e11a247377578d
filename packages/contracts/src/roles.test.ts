import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  ACCESS,
  decideAccess,
  decideQueueAccess,
  type Grant,
  maySee,
  type Resource,
  type Role,
  roleOver,
  ROLES,
  type Verb,
  VERBS,
} from "./roles.ts";

const RESOURCES = Object.keys(ACCESS) as Resource[];
const as = (role: Role, ...functions: string[]) => ({ grants: [{ role, functions: functions.length === 0 ? ["*"] : functions }] });

function inTable(role: Role, verb: Verb, resource: Resource): boolean {
  const verbs: Partial<Record<Verb, readonly Role[]>> = ACCESS[resource].verbs;
  return verbs[verb]?.includes(role) ?? false;
}

const anyName = fc.constantFrom("team-a-orders", "team-a-mail", "team-b-orders", "x");
const anyPattern = fc.constantFrom("*", "team-a-*", "team-b-*", "*-orders", "x", "nothing");
const anyGrant: fc.Arbitrary<Grant> = fc.record({
  role: fc.constantFrom(...ROLES),
  functions: fc.array(anyPattern, { minLength: 1, maxLength: 3 }),
});
const anyCaller = fc.record({ grants: fc.array(anyGrant, { maxLength: 3 }) });
const anyVerb = fc.constantFrom(...VERBS);
const anyResource = fc.constantFrom(...RESOURCES);
const covers = (grant: Grant, name: string) =>
  grant.functions.some((pattern) => new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(name));

test("over all functions, every cell of the table decides as it is written", () => {
  for (const role of ROLES)
    for (const resource of RESOURCES)
      for (const verb of VERBS) {
        const expected = inTable(role, verb, resource) ? "allowed" : "forbidden";
        assert.equal(decideAccess(as(role), verb, resource, "f"), expected, `${role} ${verb} ${resource}`);
      }
});

test("an admin may do all that anybody may, and a developer all that an invoker or viewer may", () => {
  for (const resource of RESOURCES)
    for (const verb of VERBS) {
      for (const role of ROLES) if (inTable(role, verb, resource)) assert.ok(inTable("admin", verb, resource), `${verb} ${resource}`);
      for (const role of ["invoker", "viewer"] as const)
        if (inTable(role, verb, resource)) assert.ok(inTable("developer", verb, resource), `${verb} ${resource}`);
    }
});

test("nobody is allowed more than one of their grants says", () => {
  fc.assert(
    fc.property(anyCaller, anyVerb, anyResource, fc.option(anyName, { nil: undefined }), (caller, verb, resource, name) => {
      const reached = caller.grants.filter((grant) => {
        const { scope } = ACCESS[resource];
        if (scope === "platform") return grant.functions.includes("*");
        return scope === "shared" || name === undefined || covers(grant, name);
      });
      const expected = reached.some(({ role }) => inTable(role, verb, resource));
      assert.equal(decideAccess(caller, verb, resource, name) === "allowed", expected);
    }),
    { numRuns: 3000 },
  );
});

test("403 is told only of functions that the caller may see, creating apart", () => {
  fc.assert(
    fc.property(anyCaller, anyVerb, anyResource, anyName, (caller, verb, resource, name) => {
      const access = decideAccess(caller, verb, resource, name);
      if (ACCESS[resource].scope !== "function" || access === "allowed") return;
      const isCreate = resource === "functions" && verb === "create";
      assert.equal(access, isCreate || maySee(caller, name) ? "forbidden" : "not-found");
    }),
    { numRuns: 3000 },
  );
});

test("more grants never take anything away", () => {
  fc.assert(
    fc.property(anyCaller, anyGrant, anyVerb, anyResource, anyName, (caller, more, verb, resource, name) => {
      if (decideAccess(caller, verb, resource, name) !== "allowed") return;
      assert.equal(decideAccess({ grants: [more, ...caller.grants] }, verb, resource, name), "allowed");
    }),
  );
});

test("an anonymous caller is told nothing but to authenticate", () => {
  for (const resource of RESOURCES) for (const verb of VERBS) assert.equal(decideAccess(undefined, verb, resource, "f"), "unauthenticated");
});

test("who knows no role sees nothing", () => {
  const nobody = { grants: [] };
  assert.equal(decideAccess(nobody, "get", "functions", "f"), "not-found");
  assert.equal(decideAccess(nobody, "list", "functions"), "forbidden");
  assert.equal(maySee(nobody, "f"), false);
});

test("an admin of some functions makes no keys, which would be for all", () => {
  assert.equal(decideAccess(as("admin", "team-a-*"), "create", "apikeys"), "forbidden");
  assert.equal(decideAccess(as("admin", "team-a-*"), "delete", "functions", "team-a-x"), "allowed");
  assert.equal(decideAccess(as("admin", "team-a-*"), "delete", "functions", "team-b-x"), "not-found");
});

test("values of the environment and code are for who makes functions, code for viewers, too", () => {
  const environment = ROLES.filter((role) => decideAccess(as(role), "get", "functions/environment", "f") === "allowed");
  const code = ROLES.filter((role) => decideAccess(as(role), "get", "functions/code", "f") === "allowed");
  assert.deepEqual(environment, ["admin", "developer"]);
  assert.deepEqual(code, ["admin", "developer", "viewer"]);
});

test("a queue is for who reaches every function that takes from it", () => {
  const caller = as("invoker", "team-a-*");
  assert.equal(decideQueueAccess(caller, "create", "queues/messages", ["team-a-x"]), "allowed");
  assert.equal(decideQueueAccess(caller, "create", "queues/messages", ["team-a-x", "team-b-x"]), "not-found");
  assert.equal(decideQueueAccess(caller, "create", "queues/messages", []), "not-found");
  assert.equal(decideQueueAccess(caller, "get", "queues", ["team-a-x"]), "forbidden");
  assert.equal(decideQueueAccess(as("invoker"), "create", "queues/messages", []), "allowed");
  assert.equal(decideQueueAccess(as("viewer"), "create", "queues/messages", []), "forbidden");
  assert.equal(decideQueueAccess(undefined, "get", "queues", ["team-a-x"]), "unauthenticated");
});

test("the function learns the strongest role over it", () => {
  const caller = {
    grants: [
      { role: "viewer", functions: ["*"] },
      { role: "developer", functions: ["a-*"] },
    ] as const,
  };
  assert.equal(roleOver(caller, "a-x"), "developer");
  assert.equal(roleOver(caller, "b-x"), "viewer");
  assert.equal(roleOver({ grants: [] }, "b-x"), undefined);
});
