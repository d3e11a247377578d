import assert from "node:assert/strict";
import { createHmac, createPublicKey, generateKeyPairSync } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { importJWK, type JWK, SignJWT } from "jose";
import { OidcConfig } from "../../../packages/contracts/src/index.ts";
import { ManualClock } from "../../../packages/server/src/clock.ts";
import type { Authentication } from "../../../packages/server/src/security/authentication/authentication.ts";
import { Authenticator } from "../../../packages/server/src/security/authentication/authenticator.ts";
import { ApiKeys } from "../../../packages/server/src/security/keys/api-keys.ts";
import { MemoryKeyStore } from "../../../packages/server/src/security/keys/memory-key-store.ts";
import { TokenIssuers } from "../../../packages/server/src/security/oidc/token-issuers.ts";
import { TaskGroup } from "../../../packages/server/src/task-group.ts";
import { waitFor } from "../../support/server.ts";
import { AUDIENCE, makeKey, type OpenIdProvider, startOpenIdProvider } from "./support/openid-provider.ts";

const RULES = [
  { when: { scope: "deploy", groups: "team-a" }, role: "developer", functions: "team-a-*" },
  { when: { client_id: "ci-bot" }, role: "viewer" },
];

/** What a server with this issuer has: as its configuration would make it, with a clock that the test moves. */
function openServer(issuer: string) {
  const clock = new ManualClock(Date.now());
  const tasks = new TaskGroup({ error: (fields) => assert.fail(JSON.stringify(fields)) });
  const keys = new ApiKeys({ store: new MemoryKeyStore(), clock, tasks });
  const changes: string[] = [];
  const { issuers: configured } = OidcConfig.parse({ issuers: [{ name: "main", issuer, audiences: [AUDIENCE], rules: RULES }] });
  const issuers = new TokenIssuers({
    issuers: configured,
    clock,
    onChange: (name, error) => changes.push(`${name} ${error === undefined ? "back" : "away"}`),
  });
  const authenticator = new Authenticator({ clock, keys, issuers });
  const ask = async (token: string): Promise<Authentication> => authenticator.authenticate({ authorization: `Bearer ${token}` });
  /** Subject, or why there is none. */
  const who = async (token: string): Promise<string> => {
    const answer = await ask(token);
    return answer.principal === undefined ? answer.reason : answer.principal.subject;
  };
  const why = async (token: string): Promise<string> => {
    const answer = await ask(token);
    return answer.principal === undefined ? answer.problem : "let in";
  };
  return { clock, issuers, authenticator, ask, who, why, changes };
}

describe("tokens of a real OpenID provider", () => {
  let keys: JWK[];
  let provider: OpenIdProvider;
  before(async () => {
    keys = [await makeKey("RS256", "rsa-1"), await makeKey("ES256", "ec-1"), await makeKey("EdDSA", "ed-1")];
    provider = await startOpenIdProvider({ keys, claims: { groups: ["team-a", "team-b"] } });
  });
  after(() => provider.stop());

  for (const alg of ["RS256", "ES256", "EdDSA"])
    test(`one signed by ${alg} tells who calls, and what its claims allow`, async () => {
      const { ask } = openServer(provider.issuer);
      const answer = await ask(await provider.token(alg));
      assert.ok(answer.principal !== undefined, JSON.stringify(answer));
      const { subject, kind, name, grants, claims } = answer.principal;
      assert.deepEqual([subject, kind, name], ["main:ci-bot", "oidc", "ci-bot"]);
      assert.deepEqual(grants, [
        { role: "developer", functions: ["team-a-*"] },
        { role: "viewer", functions: ["*"] },
      ]);
      assert.equal(claims?.["client_id"], "ci-bot");
      assert.deepEqual(answer.strip, ["authorization"]);
    });

  test("a burst of calls with a new token asks the issuer once, and none for a minute", async () => {
    const { authenticator, who } = openServer(provider.issuer);
    const token = await provider.token();
    provider.requests.length = 0;
    const headers = { authorization: `Bearer ${token}` };
    const answers = await Promise.all(Array.from({ length: 50 }, async () => authenticator.authenticate(headers)));
    assert.equal(new Set(answers).size, 1);
    assert.equal(await who(await provider.token("ES256")), "main:ci-bot");
    assert.deepEqual(
      provider.requests.filter((path) => path !== "/token"),
      ["/.well-known/openid-configuration", "/jwks"],
    );
    assert.ok(!(authenticator.authenticate(headers) instanceof Promise));
  });

  test("one that has expired is refused, within the skew it is not; the memory of it ends, too", async () => {
    const { clock, who, why } = openServer(provider.issuer);
    const token = await provider.token();
    assert.equal(await who(token), "main:ci-bot");
    await clock.advance(320_000);
    assert.equal(await who(token), "main:ci-bot");
    await clock.advance(11_000);
    assert.equal(await why(token), "the token has expired");
  });

  test("one for another audience is refused", async () => {
    const other = await startOpenIdProvider({ keys, audience: "another-service" });
    const { why } = openServer(other.issuer);
    assert.equal(await why(await other.token()), "the token's claim aud is missing or wrong");
    await other.stop();
  });

  test("one of an issuer that is not configured is foreign, even when its keys are the same", async () => {
    const other = await startOpenIdProvider({ keys });
    const { who } = openServer(provider.issuer);
    assert.equal(await who(await other.token()), "unknown");
    await other.stop();
  });

  describe("forged", () => {
    let claims: Record<string, unknown>;
    const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
    const sign = async (key: JWK, header: { alg: string; kid?: string; typ?: string }, changes: object = {}) =>
      new SignJWT({ ...claims, ...changes }).setProtectedHeader(header).sign(await importJWK(key, header.alg));
    before(() => {
      const nowS = Math.floor(Date.now() / 1000);
      claims = { iss: provider.issuer, aud: AUDIENCE, sub: "ci-bot", client_id: "ci-bot", iat: nowS, exp: nowS + 300 };
    });

    test("the harness makes tokens that would be let in, were they genuine", async () => {
      assert.equal(await openServer(provider.issuer).who(await sign(keys[0]!, { alg: "RS256", kid: "rsa-1" })), "main:ci-bot");
    });

    const problems = {
      alg: "the token must be signed by RS256, ES256 or EdDSA",
      signature: "the token's signature is wrong",
      key: "the token's issuer has no such key",
    };

    test("unsigned ones", async () => {
      const { why } = openServer(provider.issuer);
      for (const alg of ["none", "None", "NONE", "nOnE"])
        assert.equal(await why(`${encode({ alg, kid: "rsa-1" })}.${encode(claims)}.`), problems.alg);
      const genuine = await provider.token();
      assert.equal(await why(`${genuine.split(".").slice(0, 2).join(".")}.`), problems.signature);
    });

    test("ones signed with a public key as the secret", async () => {
      const { why } = openServer(provider.issuer);
      const published = (await (await fetch(`${provider.issuer}/jwks`)).json()) as { keys: JWK[] };
      const pem = createPublicKey({ key: published.keys[0]!, format: "jwk" }).export({ type: "spki", format: "pem" });
      for (const secret of [pem, JSON.stringify(published.keys[0]), published.keys[0]!.n!]) {
        const input = `${encode({ alg: "HS256", kid: "rsa-1" })}.${encode(claims)}`;
        assert.equal(await why(`${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`), problems.alg);
      }
    });

    test("ones of an attacker's key, under a known or an unknown id, or brought along in the header", async () => {
      const { why } = openServer(provider.issuer);
      const own = generateKeyPairSync("rsa", { modulusLength: 2048 });
      const jwk = own.privateKey.export({ format: "jwk" }) as JWK;
      const publicJwk = own.publicKey.export({ format: "jwk" }) as JWK;
      assert.equal(await why(await sign(jwk, { alg: "RS256", kid: "rsa-1" })), problems.signature);
      assert.equal(await why(await sign(jwk, { alg: "RS256", kid: "mine" })), problems.key);
      assert.equal(await why(await sign(jwk, { alg: "RS256", kid: "rsa-1", jwk: publicJwk } as never)), problems.signature);
      assert.equal(await why(await sign(jwk, { alg: "RS256", kid: "rsa-1", jku: "http://127.0.0.1:9/jwks" } as never)), problems.signature);
    });

    test("ones by other algorithms, or of one algorithm under another's key", async () => {
      const { why } = openServer(provider.issuer);
      assert.equal(await why(await sign({ ...keys[0]!, alg: "RS512" }, { alg: "RS512", kid: "rsa-1" })), problems.alg);
      assert.equal(await why(await sign({ ...keys[0]!, alg: "PS256" }, { alg: "PS256", kid: "rsa-1" })), problems.alg);
      assert.equal(await why(await sign(keys[1]!, { alg: "ES256", kid: "rsa-1" })), problems.key);
    });

    test("ones with changed claims, without an end or a subject, of the future, of another kind", async () => {
      const { why } = openServer(provider.issuer);
      const [header, , signature] = (await provider.token()).split(".");
      assert.equal(await why(`${header}.${encode({ ...claims, sub: "root" })}.${signature}`), problems.signature);
      const alg = { alg: "RS256", kid: "rsa-1" };
      assert.equal(await why(await sign(keys[0]!, alg, { exp: undefined })), "the token's claim exp is missing or wrong");
      assert.equal(await why(await sign(keys[0]!, alg, { sub: undefined })), "the token's claim sub is missing or wrong");
      assert.equal(
        await why(await sign(keys[0]!, alg, { nbf: Math.floor(Date.now() / 1000) + 3600 })),
        "the token's claim nbf is missing or wrong",
      );
      assert.equal(await why(await sign(keys[0]!, { ...alg, typ: "logout+jwt" })), "the token is malformed");
    });

    test("ones of unknown keys do not make us ask the issuer without end", async () => {
      const { why, clock } = openServer(provider.issuer);
      const strange = await Promise.all(Array.from({ length: 20 }, (_, i) => sign(keys[0]!, { alg: "RS256", kid: `unknown-${i}` })));
      provider.requests.length = 0;
      for (const token of strange) assert.equal(await why(token), problems.key);
      assert.equal(provider.requests.filter((path) => path === "/jwks").length, 3);
      await clock.advance(10_000);
      for (const token of strange) assert.equal(await why(token), problems.key);
      assert.equal(provider.requests.filter((path) => path === "/jwks").length, 4);
    });
  });
});

test("a key that the issuer has made since is found at once, one that it took back is refused within five minutes", async () => {
  const old = await makeKey("RS256", "old");
  const next = await makeKey("RS256", "next");
  const first = await startOpenIdProvider({ keys: [old], tokenSeconds: 3600 });
  const { issuers, who, why, clock } = openServer(first.issuer);
  await issuers.start();
  const oldToken = await first.token();
  assert.equal(await who(oldToken), "main:ci-bot");
  await first.stop();
  const second = await startOpenIdProvider({ keys: [next], port: first.port, tokenSeconds: 3600 });
  assert.equal(await who(await second.token()), "main:ci-bot");
  await clock.advance(60_000);
  assert.equal(await why(oldToken), "the token's issuer has no such key");
  await second.stop();

  // Nobody shows the new key, so only time tells.
  const third = await startOpenIdProvider({ keys: [old], port: first.port, tokenSeconds: 3600 });
  const server = openServer(third.issuer);
  assert.equal(await server.who(oldToken), "main:ci-bot");
  await third.stop();
  const fourth = await startOpenIdProvider({ keys: [next], port: first.port, tokenSeconds: 3600 });
  await server.clock.advance(299_000);
  await server.who(oldToken);
  await server.clock.advance(61_000);
  assert.equal(await server.why(oldToken), "the token's issuer has no such key");
  await fourth.stop();
});

test("while the issuer is away, who was verified is let in for ten minutes, others are refused; then all are well again", async () => {
  const keys = [await makeKey("RS256", "k")];
  const provider = await startOpenIdProvider({ keys, tokenSeconds: 3600 });
  const { issuers, who, why, clock, changes } = openServer(provider.issuer);
  const known = await provider.token();
  const unseen = await provider.token();
  assert.equal(await who(known), "main:ci-bot");
  await provider.stop();

  await clock.advance(301_000);
  assert.equal(await who(known), "main:ci-bot");
  assert.deepEqual(issuers.away(), ["main"]);
  assert.match(await why(unseen), /^the issuer main cannot be reached/);
  await clock.advance(298_000);
  assert.equal(await who(known), "main:ci-bot");
  await clock.advance(1_001);
  assert.match(await why(known), /^the issuer main cannot be reached/);

  const again = await startOpenIdProvider({ keys, port: provider.port });
  await clock.advance(10_000);
  assert.equal(await who(known), "main:ci-bot");
  assert.equal(await who(unseen), "main:ci-bot");
  assert.deepEqual(issuers.away(), []);
  assert.deepEqual(changes, ["main away", "main back"]);
  await again.stop();
});

test("a token's own end counts while its issuer is away, too", async () => {
  const provider = await startOpenIdProvider({ keys: [await makeKey("RS256", "k")], tokenSeconds: 400 });
  const { who, clock } = openServer(provider.issuer);
  const token = await provider.token();
  assert.equal(await who(token), "main:ci-bot");
  await provider.stop();
  await clock.advance(420_000);
  assert.equal(await who(token), "main:ci-bot");
  await clock.advance(12_000);
  assert.equal(await who(token), "issuer-away");
});

test("a server starts without its issuer, and knows it once it is there", async () => {
  const keys = [await makeKey("RS256", "k")];
  const provider = await startOpenIdProvider({ keys });
  const token = await provider.token();
  await provider.stop();
  const { issuers, who, clock } = openServer(provider.issuer);
  await issuers.start();
  assert.deepEqual(issuers.away(), ["main"]);
  assert.equal(await who(token), "issuer-away");
  const back = await startOpenIdProvider({ keys, port: provider.port });
  await clock.advance(10_000);
  assert.equal(await who(token), "main:ci-bot");
  await back.stop();
});

test("an issuer that is back is found out without a caller; after the end nothing is asked", async () => {
  const keys = [await makeKey("RS256", "k")];
  const provider = await startOpenIdProvider({ keys });
  await provider.stop();
  const { issuers, clock } = openServer(provider.issuer);
  await issuers.start();
  assert.deepEqual(issuers.away(), ["main"]);
  const back = await startOpenIdProvider({ keys, port: provider.port });
  await clock.advance(30_000);
  await waitFor("the issuer to be back", () => issuers.away().length === 0);
  await back.stop();
  const gone = openServer(provider.issuer);
  await gone.issuers.start();
  gone.issuers.stop();
  const again = await startOpenIdProvider({ keys, port: provider.port });
  await gone.clock.advance(120_000);
  assert.deepEqual(again.requests, []);
  await again.stop();
});

test("a discovery document of another issuer, or with keys at an unsafe address, is not believed", async () => {
  const clock = new ManualClock(Date.now());
  const [issuer] = OidcConfig.parse({ issuers: [{ name: "main", issuer: "https://login.example.com/", audiences: ["a"] }] }).issuers;
  const asked: string[] = [];
  const seen: string[] = [];
  for (const document of [
    { issuer: "https://login.example.com", jwks_uri: "https://login.example.com/jwks" },
    { issuer: "https://login.example.com/", jwks_uri: "http://login.example.com/jwks" },
    { issuer: "https://login.example.com/", jwks_uri: "file:///etc/passwd" },
    { issuer: "https://login.example.com/" },
    null,
  ]) {
    const issuers = new TokenIssuers({
      issuers: [issuer!],
      clock,
      fetchJson: async (url) => {
        asked.push(url);
        return document;
      },
      onChange: (_name, error) => seen.push(error?.cause instanceof Error ? error.cause.message : "back"),
    });
    await issuers.start();
    assert.deepEqual(issuers.away(), ["main"]);
  }
  assert.deepEqual(new Set(asked), new Set(["https://login.example.com/.well-known/openid-configuration"]));
  assert.match(seen[0]!, /of another issuer: configure the issuer exactly/);
  assert.equal(seen.filter((why) => why.endsWith("has no https jwks_uri")).length, 3);
});
