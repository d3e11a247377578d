import assert from "node:assert/strict";
import test from "node:test";
import { KsError, type Role } from "@kube-serverless/contracts";
import { buildAccessError, decideCall } from "./access.ts";
import { ANONYMOUS, type Authentication } from "./authentication/authentication.ts";
import { buildCaller, type Principal } from "./principal.ts";

const principal = (role: Role, pattern = "*", changes: Partial<Principal> = {}): Principal => ({
  subject: "key:abc",
  kind: "api-key",
  name: "ci",
  grants: [{ role, functions: [pattern] }],
  expiresAtMs: undefined,
  rateLimit: undefined,
  maxConcurrency: undefined,
  claims: undefined,
  ...changes,
});
const as = (role: Role, pattern = "*"): Authentication => ({ principal: principal(role, pattern), strip: [] });

test("a public function is for everybody, a private one for who may invoke it", () => {
  assert.equal(decideCall(ANONYMOUS, "none", "f"), "allowed");
  assert.equal(decideCall(as("viewer"), "none", "f"), "allowed");
  assert.equal(decideCall(ANONYMOUS, "required", "f"), "unauthenticated");
  assert.equal(decideCall(as("viewer"), "required", "f"), "forbidden");
  assert.equal(decideCall(as("invoker"), "required", "f"), "allowed");
  assert.equal(decideCall(as("invoker", "other"), "required", "f"), "not-found");
});

test("whether a private function exists is not told to who may not see it", () => {
  for (const caller of [ANONYMOUS, as("invoker", "other-*"), as("admin", "x")])
    assert.equal(decideCall(caller, undefined, "f"), decideCall(caller, "required", "f"));
  assert.equal(decideCall(as("viewer"), undefined, "f"), "not-found");
});

test("the answer to the uninvited is that of a function which does not exist", () => {
  const asked = { verb: "get", resource: "functions", notFound: "FUNCTION_NOT_FOUND" } as const;
  assert.deepEqual(buildAccessError("not-found", as("viewer", "x"), asked), new KsError("FUNCTION_NOT_FOUND"));
  const forbidden = buildAccessError("forbidden", as("viewer"), { ...asked, verb: "delete" });
  assert.equal(forbidden.status, 403);
  assert.equal(forbidden.message, "Forbidden: ci may not delete functions");
  const unknown = buildAccessError("unauthenticated", ANONYMOUS, asked);
  assert.equal(unknown.status, 401);
  assert.deepEqual(unknown.headers, { "WWW-Authenticate": 'Bearer realm="kube-serverless"' });
});

test("the function learns who calls, its role here and the claims", () => {
  assert.deepEqual(buildCaller(principal("invoker"), "f"), { subject: "key:abc", kind: "api-key", role: "invoker", name: "ci" });
  const claims = { sub: "u", groups: ["a"] };
  assert.deepEqual(buildCaller(principal("viewer", "other", { kind: "oidc", claims }), "f"), {
    subject: "key:abc",
    kind: "oidc",
    role: null,
    name: "ci",
    claims,
  });
});
