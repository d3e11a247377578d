import assert from "node:assert/strict";
import test from "node:test";
import { OidcConfig } from "@kube-serverless/contracts";
import { grantsOf } from "./claims.ts";

const issuer = (changes: object = {}) => ({
  name: "main",
  issuer: "https://login.example.com/realms/main",
  audiences: ["kube-serverless"],
  ...changes,
});
const rules = (...all: object[]) => OidcConfig.parse({ issuers: [issuer({ rules: all })] }).issuers[0]!.rules;

test("claims give roles: equal, one of a list, a scope among others, nested, by an address, or any", () => {
  const cases: [claim: string, value: string, claims: object, holds: boolean][] = [
    ["sub", "ci", { sub: "ci" }, true],
    ["sub", "ci", { sub: "ci2" }, false],
    ["groups", "ops", { groups: ["dev", "ops"] }, true],
    ["groups", "ops", { groups: "dev ops" }, false],
    ["scope", "deploy", { scope: "call deploy" }, true],
    ["scope", "dep", { scope: "call deploy" }, false],
    ["realm_access.roles", "deployer", { realm_access: { roles: ["deployer"] } }, true],
    ["https://example.com/roles", "x", { "https://example.com/roles": ["x"] }, true],
    ["email_verified", "true", { email_verified: true }, true],
    ["sub", "*", { sub: "anybody" }, true],
    ["groups", "*", { groups: [] }, false],
    ["groups", "*", {}, false],
    ["constructor", "*", {}, false],
    ["groups.constructor.name", "Object", { groups: {} }, false],
  ];
  for (const [claim, value, claims, holds] of cases) {
    const grants = grantsOf(rules({ when: { [claim]: value }, role: "developer", functions: "team-a-*" }), { ...claims });
    assert.deepEqual(
      grants,
      holds ? [{ role: "developer", functions: ["team-a-*"] }] : [],
      `${claim}=${value} of ${JSON.stringify(claims)}`,
    );
  }
});

test("all claims of a rule must hold, and all rules that do count", () => {
  const both = rules({ when: { email: "a@example.com", email_verified: "true" }, role: "admin" }, { when: { sub: "*" }, role: "viewer" });
  assert.deepEqual(
    grantsOf(both, { sub: "u", email: "a@example.com", email_verified: false }).map(({ role }) => role),
    ["viewer"],
  );
  assert.deepEqual(
    grantsOf(both, { sub: "u", email: "a@example.com", email_verified: true }).map(({ role }) => role),
    ["admin", "viewer"],
  );
});

test("a configuration that would let others in is refused", () => {
  const wrong: [string, object][] = [
    ["plain HTTP to elsewhere", issuer({ issuer: "http://login.example.com" })],
    ["keys by plain HTTP", issuer({ jwksUrl: "http://login.example.com/jwks" })],
    ["no audience", issuer({ audiences: [] })],
    ["a name that keys have", issuer({ name: "key" })],
    ["a rule for everything", issuer({ rules: [{ when: {}, role: "admin" }] })],
    ["a typing error", issuer({ audience: "x" })],
    ["an hour of skew", issuer({ skewSeconds: 3600 })],
  ];
  for (const [what, one] of wrong) assert.equal(OidcConfig.safeParse({ issuers: [one] }).success, false, what);
  assert.equal(OidcConfig.safeParse({ issuers: [issuer(), issuer({ name: "two" })] }).success, false, "one issuer twice");
  assert.equal(OidcConfig.safeParse({ issuers: [issuer({ issuer: "http://127.0.0.1:8080" })] }).success, true);
});
