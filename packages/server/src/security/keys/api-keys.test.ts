import assert from "node:assert/strict";
import test from "node:test";
import { CreateApiKey } from "@kube-serverless/contracts";
import { ManualClock } from "../../clock.ts";
import { TaskGroup } from "../../task-group.ts";
import { AdminKey, bootstrapAdmin, explainAdminKey } from "./admin-key.ts";
import { ApiKeys } from "./api-keys.ts";
import { MemoryKeyStore } from "./memory-key-store.ts";

const wish = (changes: object = {}) => CreateApiKey.parse({ name: "ci", role: "developer", ...changes });

function open(store = new MemoryKeyStore(), clock = new ManualClock()) {
  let changes = 0;
  const tasks = new TaskGroup({ error: (fields) => assert.fail(JSON.stringify(fields)) });
  const keys = new ApiKeys({ store, clock, tasks, onChanged: () => changes++ });
  return { store, clock, keys, tasks, changes: () => changes };
}

test("a key is known by its text alone, and shown without it", async () => {
  const { keys, store } = open();
  const { key, id } = await keys.create(wish({ functions: "team-a-*", rateLimit: { requestsPerSecond: 5 } }));
  const check = keys.check(key);
  assert.ok(check.ok);
  assert.deepEqual(check.principal.grants, [{ role: "developer", functions: ["team-a-*"] }]);
  assert.equal(check.principal.subject, `key:${id}`);
  assert.deepEqual(check.principal.rateLimit, { requestsPerSecond: 5 });
  const shown = JSON.stringify([keys.list(), await store.load()]);
  assert.ok(!shown.includes(key) && !shown.includes(key.slice(20)));
});

test("another key of the same id, an unknown one and none at all are told apart for the log", async () => {
  const { keys } = open();
  const { key, id } = await keys.create(wish());
  const { createKeyText } = await import("./key-text.ts");
  assert.deepEqual(keys.check(createKeyText(id).text), { ok: false, reason: "unknown" });
  assert.deepEqual(keys.check(createKeyText().text), { ok: false, reason: "unknown" });
  assert.deepEqual(keys.check(`${key.slice(0, -1)}!`), { ok: false, reason: "mistyped" });
});

test("a key ends when it says", async () => {
  const { keys, clock } = open();
  const expiresAt = new Date(clock.nowMs() + 60_000).toISOString();
  const { key } = await keys.create(wish({ expiresAt }));
  await clock.advance(59_999);
  assert.equal(keys.check(key).ok, true);
  await clock.advance(1);
  assert.deepEqual(keys.check(key), { ok: false, reason: "expired" });
  await assert.rejects(keys.create(wish({ expiresAt })), { code: "INVALID_REQUEST" });
});

test("a key that was removed is refused at once, and after a restart", async () => {
  const { keys, store, clock, changes } = open();
  const { key, id } = await keys.create(wish());
  assert.equal(await keys.remove(id), true);
  assert.equal(changes(), 1);
  assert.equal(keys.check(key).ok, false);
  assert.equal(await keys.remove(id), false);
  const again = open(store, clock).keys;
  await again.load();
  assert.equal(again.check(key).ok, false);
});

test("both secrets work while a rotation overlaps, then the new one alone", async () => {
  const { keys, clock, store } = open();
  const first = await keys.create(wish());
  const second = await keys.rotate(first.id, 10_000);
  assert.ok(second !== undefined && second.key !== first.key && second.previousSecretUntil !== null);
  await clock.advance(9_999);
  const old = keys.check(first.key);
  assert.ok(old.ok && old.validUntilMs === clock.nowMs() + 1);
  await clock.advance(1);
  assert.deepEqual(keys.check(first.key), { ok: false, reason: "expired" });
  assert.equal(keys.get(first.id)?.previousSecretUntil, null);
  const again = open(store, clock).keys;
  await again.load();
  assert.equal(again.check(second.key).ok, true);
  assert.equal(await keys.rotate("nobody", 0), undefined);
});

test("without overlap all that was before ends at once", async () => {
  const { keys } = open();
  const first = await keys.create(wish());
  const second = await keys.rotate(first.id, 60_000);
  const third = await keys.rotate(first.id, 0);
  assert.deepEqual(
    [first, second!, third!].map(({ key }) => keys.check(key).ok),
    [false, false, true],
  );
  assert.equal(third!.previousSecretUntil, null);
});

test("when rotated twice, each secret works as long as was promised, and no longer than the last overlap", async () => {
  const { keys, clock } = open();
  const first = await keys.create(wish());
  const [second, third] = await Promise.all([keys.rotate(first.id, 60_000), keys.rotate(first.id, 90_000)]);
  const works = () => [first, second!, third!].map(({ key }) => keys.check(key).ok);
  assert.deepEqual(works(), [true, true, true]);
  assert.equal(third!.previousSecretUntil, new Date(clock.nowMs() + 90_000).toISOString());
  await clock.advance(60_000);
  assert.deepEqual(works(), [false, true, true]);
  await keys.rotate(first.id, 10_000);
  await clock.advance(10_000);
  assert.deepEqual(works(), [false, false, false]);
});

test("only so many old secrets work at once, the newest of them", async () => {
  const { keys } = open();
  const made = [await keys.create(wish())];
  for (let count = 0; count < 5; count++) made.push((await keys.rotate(made[0]!.id, 60_000))!);
  assert.deepEqual(
    made.map(({ key }) => keys.check(key).ok),
    [false, false, true, true, true, true],
  );
});

test("the last use is written once a minute, and at the end", async () => {
  const { keys, clock, store, tasks } = open();
  const { key, id } = await keys.create(wish());
  const usedAtMs = clock.nowMs();
  keys.check(key);
  assert.equal(keys.get(id)?.lastUsedAt, new Date(usedAtMs).toISOString());
  assert.equal((await store.load())[0]?.lastUsedAtMs, undefined);
  await clock.advance(60_000);
  await tasks.drain();
  assert.equal((await store.load())[0]?.lastUsedAtMs, usedAtMs);
  keys.check(key);
  await keys.rotate(id, 60_000);
  await keys.stop();
  assert.equal((await store.load())[0]?.lastUsedAtMs, usedAtMs + 60_000);
});

test("changes at the same moment do not undo each other", async () => {
  const { keys, store } = open();
  const made = await Promise.all(Array.from({ length: 5 }, () => keys.create(wish())));
  await Promise.all([keys.rotate(made[0]!.id, 1000), keys.remove(made[0]!.id), keys.remove(made[1]!.id)]);
  assert.deepEqual(new Set((await store.load()).map(({ id }) => id)), new Set(made.slice(2).map(({ id }) => id)));
});

test("the first start makes one admin key, later ones none while it lives", async () => {
  const { keys } = open();
  const key = await bootstrapAdmin(keys, undefined);
  assert.ok(key !== undefined);
  const check = keys.check(key);
  assert.deepEqual(check.ok && check.principal.grants, [{ role: "admin", functions: ["*"] }]);
  assert.equal(await bootstrapAdmin(keys, undefined), undefined);
  await keys.remove(keys.list()[0]!.id);
  await keys.create(wish({ role: "admin", functions: "team-a-*" }));
  assert.notEqual(await bootstrapAdmin(keys, undefined), undefined);
});

test("a configured admin key is taken instead, when it is long enough", async () => {
  const { keys } = open();
  const text = "correct-horse-battery-staple-0123456789";
  const admin = new AdminKey(text);
  assert.equal(await bootstrapAdmin(keys, admin), undefined);
  assert.equal(keys.list().length, 0);
  assert.equal(admin.check(text)?.subject, "admin");
  assert.equal(admin.check(`${text}0`), undefined);
  assert.equal(admin.check(""), undefined);
  assert.equal(explainAdminKey(text), undefined);
  assert.match(explainAdminKey("x".repeat(31)) ?? "", /32 characters/);
  assert.match(explainAdminKey(`${text}\n`) ?? "", /printable/);
});
