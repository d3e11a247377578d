import assert from "node:assert/strict";
import test from "node:test";
import { CreateApiKey } from "@kube-serverless/contracts";
import fc from "fast-check";
import { ManualClock } from "../../clock.ts";
import { TaskGroup } from "../../task-group.ts";
import { AdminKey } from "../keys/admin-key.ts";
import { ApiKeys } from "../keys/api-keys.ts";
import { createKeyText } from "../keys/key-text.ts";
import { MemoryKeyStore } from "../keys/memory-key-store.ts";
import { type Authentication, buildAuthenticationError, passCredentials } from "./authentication.ts";
import { Authenticator } from "./authenticator.ts";

const ADMIN = "an-admin-key,of-more-than-32,characters";

async function open() {
  const clock = new ManualClock();
  const tasks = new TaskGroup({ error: (fields) => assert.fail(JSON.stringify(fields)) });
  const box: { authenticator?: Authenticator } = {};
  const keys = new ApiKeys({ store: new MemoryKeyStore(), clock, tasks, onChanged: () => box.authenticator?.forgetKeys() });
  const authenticator = new Authenticator({ clock, keys, adminKey: new AdminKey(ADMIN) });
  box.authenticator = authenticator;
  const made = await keys.create(CreateApiKey.parse({ name: "ci", role: "invoker" }));
  const ask = (headers: Record<string, string>): Authentication => {
    const answer = authenticator.authenticate(headers);
    assert.ok(!(answer instanceof Promise));
    return answer;
  };
  /** Subject, or why there is none; and what a function would see. */
  const sees = (headers: Record<string, string>) => {
    const answer = ask(headers);
    const { authorization: _authorization, "x-api-key": _apiKey, ...left } = headers;
    passCredentials(left, headers, answer);
    return [answer.principal === undefined ? answer.reason : answer.principal.subject, left];
  };
  return { clock, keys, ask, sees, ...made };
}

test("a key is taken from either header, and never reaches the function", async () => {
  const { sees, key, id } = await open();
  assert.deepEqual(sees({ authorization: `Bearer ${key}`, accept: "*/*" }), [`key:${id}`, { accept: "*/*" }]);
  assert.deepEqual(sees({ authorization: `bearer  ${key}` }), [`key:${id}`, {}]);
  assert.deepEqual(sees({ "x-api-key": key }), [`key:${id}`, {}]);
  assert.deepEqual(sees({ authorization: `Bearer ${ADMIN}` }), ["admin", {}]);
  assert.deepEqual(sees({ "x-api-key": ADMIN }), ["admin", {}]);
});

test("what is not ours passes to the function", async () => {
  const { sees, key, id } = await open();
  const basic = "Basic dXNlcjpwYXNz";
  assert.deepEqual(sees({}), ["missing", {}]);
  assert.deepEqual(sees({ authorization: basic }), ["unknown", { authorization: basic }]);
  assert.deepEqual(sees({ authorization: "Bearer of.their.own" }), ["unknown", { authorization: "Bearer of.their.own" }]);
  assert.deepEqual(sees({ "x-api-key": "theirs" }), ["unknown", { "x-api-key": "theirs" }]);
  assert.deepEqual(sees({ "x-api-key": key, authorization: basic }), [`key:${id}`, { authorization: basic }]);
  assert.deepEqual(sees({ "x-api-key": "theirs", authorization: `Bearer ${key}` }), [`key:${id}`, { "x-api-key": "theirs" }]);
});

test("two different keys prove nobody, the same one in both headers its holder", async () => {
  const { sees, ask, key, id } = await open();
  assert.deepEqual(sees({ "x-api-key": key, authorization: `Bearer ${key}` }), [`key:${id}`, {}]);
  const others = [`Bearer ${ADMIN}`, `Bearer ${createKeyText().text}`, `Bearer ${key}, Bearer ${key}`, key];
  for (const authorization of others) assert.deepEqual(sees({ "x-api-key": key, authorization }), ["invalid", {}], authorization);
  assert.deepEqual(sees({ "x-api-key": ADMIN, authorization: `Bearer ${key}` }), ["invalid", {}]);
  assert.match(buildAuthenticationError(ask({ "x-api-key": key, authorization: `Bearer ${ADMIN}` })).message, /different keys; send one/);
});

test("a key of ours does not reach the function where it is wrong", async () => {
  const { sees, key } = await open();
  const wrong = createKeyText().text;
  assert.deepEqual(sees({ "x-api-key": wrong, authorization: `Bearer ${key}` }), ["invalid", {}]);
  assert.deepEqual(sees({ authorization: `Bearer ${wrong}` }), ["unknown", {}]);
  assert.deepEqual(sees({ authorization: `Bearer ${key.slice(0, -1)}` }), ["mistyped", {}]);
  assert.deepEqual(sees({ "x-api-key": `${key}, ${key}` }), ["mistyped", {}]);
});

test("what proves a caller in one header neither counts in the other nor reaches the function there", async () => {
  const { sees, key, id } = await open();
  assert.deepEqual(sees({ authorization: `Bearer ${key}` }), [`key:${id}`, {}]);
  assert.deepEqual(sees({ "x-api-key": `Bearer ${key}` }), ["unknown", {}]);
  assert.deepEqual(sees({ "x-api-key": key }), [`key:${id}`, {}]);
  assert.deepEqual(sees({ authorization: key }), ["unknown", {}]);
});

test("a key that is sent twice proves nobody, and does not reach the function", async () => {
  const { sees, key } = await open();
  for (const each of [key, ADMIN]) {
    const twice = `Bearer ${each}, Bearer ${each}`;
    assert.deepEqual(sees({ authorization: twice }), ["unknown", {}]);
    assert.deepEqual(sees({ authorization: twice, "x-api-key": "theirs" }), ["unknown", { "x-api-key": "theirs" }]);
    const [, left] = sees({ authorization: twice, "x-api-key": `${each}, ${each}` });
    assert.deepEqual(left, {});
  }
});

test("a caller who was verified is the same object for a minute, and looked at again then", async () => {
  const { ask, key, clock, keys } = await open();
  const headers = { authorization: `Bearer ${key}` };
  const first = ask(headers);
  await clock.advance(59_999);
  assert.equal(ask(headers), first);
  const usedAt = keys.list()[0]?.lastUsedAt;
  await clock.advance(1);
  assert.notEqual(ask(headers), first);
  assert.notEqual(keys.list()[0]?.lastUsedAt, usedAt);
});

test("a deleted or rotated key is refused at once, one that ends within the minute at its end", async () => {
  const { ask, key, id, keys, clock } = await open();
  const until = await keys.create(
    CreateApiKey.parse({ name: "short", role: "viewer", expiresAt: new Date(clock.nowMs() + 10_000).toISOString() }),
  );
  assert.ok(ask({ "x-api-key": until.key }).principal !== undefined);
  assert.ok(ask({ "x-api-key": key }).principal !== undefined);
  await clock.advance(10_000);
  assert.equal(ask({ "x-api-key": until.key }).principal, undefined);
  const next = await keys.rotate(id, 0);
  assert.equal(ask({ "x-api-key": key }).principal, undefined);
  assert.ok(ask({ "x-api-key": next!.key }).principal !== undefined);
  await keys.remove(id);
  assert.equal(ask({ "x-api-key": next!.key }).principal, undefined);
});

test("the refusal says what to do, and nothing of the key", async () => {
  const { ask } = await open();
  const wrong = createKeyText().text;
  const error = buildAuthenticationError(ask({ authorization: `Bearer ${wrong}` }));
  assert.equal(error.status, 401);
  assert.equal(error.message, "Authentication required: the API key is unknown or was deleted");
  assert.deepEqual(error.headers, { "WWW-Authenticate": 'Bearer realm="kube-serverless", error="invalid_token"' });
  assert.ok(!JSON.stringify([error.message, error.headers, error.details]).includes(wrong.slice(0, 16)));
  assert.match(buildAuthenticationError(ask({})).message, /send an API key/);
});

test("nobody gets in by any other text", async () => {
  const { ask } = await open();
  fc.assert(
    fc.property(
      fc.option(fc.string({ unit: "binary" }), { nil: undefined }),
      fc.option(fc.string(), { nil: undefined }),
      (authorization, apiKey) => {
        const headers = {
          ...(authorization === undefined ? {} : { authorization }),
          ...(apiKey === undefined ? {} : { "x-api-key": apiKey }),
        };
        assert.equal(ask(headers).principal, undefined);
        assert.equal(ask({ authorization: `Bearer ${authorization}` }).principal, undefined);
      },
    ),
  );
});
