import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { importJWK, type JWK, SignJWT } from "jose";
import { waitFor } from "../../support/server.ts";
import { AUDIENCE, makeKey, type OpenIdProvider, startOpenIdProvider } from "./support/openid-provider.ts";
import { ADMIN, type Answer, ECHO, SecuredServer } from "./support/secured.ts";

const RULES = [
  { when: { scope: "deploy", groups: "team-a" }, role: "developer", functions: "team-a-*" },
  { when: { client_id: "ci-bot" }, role: "invoker", functions: "shared" },
];

describe("a server with an OpenID issuer", () => {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-test-oidc-"));
  let signing: JWK;
  let provider: OpenIdProvider;
  let secured: SecuredServer;

  before(async () => {
    signing = await makeKey("RS256", "first");
    provider = await startOpenIdProvider({ keys: [signing, await makeKey("ES256", "curve")], claims: { groups: ["team-a", "team-b"] } });
    const config = join(folder, "issuers.json");
    const issuer = { name: "main", issuer: provider.issuer, audiences: [AUDIENCE], rules: RULES };
    writeFileSync(config, JSON.stringify({ issuers: [issuer] }));
    secured = await SecuredServer.start({ flags: ["--oidc-config", config] });
    await secured.deploy("shared", ECHO);
    await secured.deploy("elsewhere", ECHO);
    await secured.deploy("open", ECHO, { auth: "none" });
  });
  after(async () => {
    await secured[Symbol.asyncDispose]();
    await provider.stop();
    rmSync(folder, { recursive: true });
  });

  const call = (token: string, path = "/fn/shared"): Promise<Answer> => secured.send("GET", path, { key: token });
  const degraded = async (): Promise<string[]> => (await secured.admin("GET", "/ready")).body.degraded ?? [];

  /** A token like the provider's own, with these changes. */
  async function forge(changes: object, header: object = {}, key: JWK = signing): Promise<string> {
    const nowS = Math.floor(Date.now() / 1000);
    const claims = { iss: provider.issuer, aud: AUDIENCE, sub: "ci-bot", client_id: "ci-bot", iat: nowS, exp: nowS + 300, ...changes };
    return new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "first", ...header }).sign(await importJWK(key, "RS256"));
  }

  for (const alg of ["RS256", "ES256"])
    test(`a token signed by ${alg} calls a function, which learns its claims and not the token`, async () => {
      const { status, body } = await call(await provider.token(alg));
      assert.equal(status, 200, JSON.stringify(body));
      const { subject, kind, name, role, claims } = body.caller;
      assert.deepEqual([subject, kind, name, role], ["main:ci-bot", "oidc", "ci-bot", "invoker"]);
      assert.deepEqual([claims.iss, claims.groups], [provider.issuer, ["team-a", "team-b"]]);
      assert.equal(body.headers.authorization, undefined);
    });

  test("every rule that fits gives its role over its functions, and nothing beyond", async () => {
    const key = await provider.token();
    await secured.deploy("team-a-one", ECHO, {}, key);
    assert.equal((await call(key, "/fn/team-a-one")).body.caller.role, "developer");
    assert.equal((await call(key, "/fn/elsewhere")).status, 404);
    assert.equal((await secured.send("DELETE", "/api/v1/functions/shared", { key })).status, 403);
    const spec = { name: "team-b-one", runtime: "nodejs18", handler: "index.handler", code: ECHO };
    assert.equal((await secured.send("POST", "/api/v1/functions", { key, body: spec })).status, 403);
    const seen = (await secured.send("GET", "/api/v1/functions", { key })).body.map((each: { name: string }) => each.name);
    assert.deepEqual(seen, ["shared", "team-a-one"]);
    assert.equal((await secured.send("GET", "/api/v1/keys", { key })).status, 403);
  });

  test("one that no rule fits is known, and may do nothing but call what is open to all", async () => {
    const stranger = await forge({ sub: "stranger", client_id: "other" });
    assert.equal((await call(stranger)).status, 404);
    const { status, body } = await call(stranger, "/fn/open");
    assert.deepEqual([status, body.caller.subject, body.caller.role], [200, "main:stranger", null]);
  });

  test("forged, unsigned, expired and foreign ones are told 401", async () => {
    const genuine = await provider.token();
    const [header, payload, signature] = genuine.split(".");
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString("base64url");
    const attacker = await makeKey("RS256", "first");
    const nowS = Math.floor(Date.now() / 1000);
    const claims = JSON.parse(Buffer.from(payload!, "base64url").toString());
    assert.equal((await call(await forge({}))).status, 200, "the harness makes tokens that would be let in, were they genuine");
    for (const [what, token] of Object.entries({
      "another's key": await forge({}, {}, attacker),
      "changed claims": `${header}.${encode({ ...claims, sub: "root" })}.${signature}`,
      none: `${encode({ alg: "none" })}.${payload}.`,
      "no signature": `${header}.${payload}.`,
      expired: await forge({ exp: nowS - 60 }),
      "another audience": await forge({ aud: "another" }),
      "another issuer": await forge({ iss: "https://login.example.com" }),
      nonsense: "a.b.c",
    })) {
      const { status, headers, body } = await call(token);
      assert.deepEqual([status, body.code], [401, "UNAUTHENTICATED"], what);
      assert.match(headers.get("www-authenticate") ?? "", /error="invalid_token"/, what);
      assert.equal((await secured.send("GET", "/api/v1/functions", { key: token })).status, 401, what);
    }
  });

  test("while the issuer is away, known tokens go on, unknown keys are refused, and /ready says so; then a rotated key is found", async () => {
    const known = await provider.token();
    assert.equal((await call(known)).status, 200);
    await provider.stop();
    const rotated = await makeKey("RS256", "second");
    const unseen = await call(await forge({}, { kid: "second" }, rotated));
    assert.equal(unseen.status, 401);
    assert.match(unseen.body.error, /the issuer main cannot be reached/);
    assert.ok((await degraded()).includes("issuer-main"));
    assert.deepEqual((await secured.send("GET", "/ready")).body, { status: "ready" });
    assert.equal((await call(known)).status, 200);
    assert.ok(secured.server.log.some(({ msg, issuer }) => msg === "issuer cannot be reached" && issuer === "main"));

    provider = await startOpenIdProvider({ keys: [rotated], port: provider.port, claims: { groups: ["team-a"] } });
    const token = await provider.token();
    await waitFor("the rotated key", async () => (await call(token)).status === 200, 30_000);
    assert.equal((await degraded()).includes("issuer-main"), false);
  });

  test("keys go on beside tokens", async () => {
    assert.equal((await call(ADMIN)).body.caller.kind, "admin-key");
  });
});
