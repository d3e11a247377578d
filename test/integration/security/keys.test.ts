import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { MAX_API_KEYS } from "../../../packages/server/src/security/keys/api-keys.ts";
import { createKeyText, hashKey } from "../../../packages/server/src/security/keys/key-text.ts";
import { KEYS_MODULE, SqliteKeyStore } from "../../../packages/server/src/security/sqlite/sqlite-key-store.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { createDataFolder, waitFor } from "../../support/server.ts";
import { failOnFatal } from "../store/scratch.ts";
import { ADMIN, SecuredServer } from "./support/secured.ts";

/** Answers slowly, or streams for as long as it is asked to; prints that it was called. */
const SLOW = `exports.handler = async (event) => {
  console.log("called");
  const pauseMs = Number(event.query.ms);
  if (event.query.stream === undefined) return new Promise((done) => setTimeout(done, pauseMs, "whole"));
  const body = (async function* () { yield "first,"; await new Promise((done) => setTimeout(done, pauseMs)); yield "last"; })();
  return { statusCode: 200, headers: { "content-type": "text/plain" }, body: require("node:stream").Readable.from(body) };
};`;

describe("a key that is taken away", () => {
  let secured: SecuredServer;
  before(async () => {
    secured = await SecuredServer.start();
    await secured.deploy("slow", SLOW);
  });
  after(() => secured.server.stop());

  const authorize = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
  const inFlight = async (): Promise<number> => (await secured.admin("GET", "/api/v1/functions/slow/metrics")).body.inFlight;

  test("lets what was let in end whole, calls and streams, and nothing new in", async () => {
    const { id, key } = await secured.createKey({ role: "invoker" });
    const whole = secured.send("GET", "/fn/slow?ms=2000", { key });
    const streamed = await fetch(`${secured.server.url}/fn/slow?stream&ms=2000`, authorize(key));
    await waitFor("both calls to run", async () => (await inFlight()) === 2);
    assert.equal((await secured.admin("DELETE", `/api/v1/keys/${id}`)).status, 204);
    // From the answer on, whichever way, also by the connection that it was good on.
    const refused = await Promise.all(Array.from({ length: 20 }, () => secured.send("GET", "/fn/slow?ms=0", { key })));
    assert.deepEqual(new Set(refused.map(({ status }) => status)), new Set([401]));
    assert.equal((await secured.send("GET", "/api/v1/functions", { key })).status, 401);
    assert.deepEqual([(await whole).status, (await whole).body], [200, "whole"]);
    assert.equal(await streamed.text(), "first,last");
  });

  test("is refused for a call whose body still comes only if it was not let in before", async () => {
    const { id, key } = await secured.createKey({ role: "invoker" });
    let sendRest = (): void => {};
    const rest = new Promise<void>((resolve) => (sendRest = resolve));
    const body = (async function* () {
      yield Buffer.from("[");
      await rest;
      yield Buffer.from("]");
    })();
    const init = { method: "POST", ...authorize(key), body: ReadableStream.from(body), duplex: "half" };
    const sent = fetch(`${secured.server.url}/fn/slow?ms=0`, init as RequestInit);
    await waitFor("its use", async () => (await secured.admin("GET", `/api/v1/keys/${id}`)).body.lastUsedAt !== null);
    assert.equal((await secured.admin("DELETE", `/api/v1/keys/${id}`)).status, 204);
    sendRest();
    assert.equal((await sent).status, 200);
  });

  test("reads no log any further, nor does a key that was rotated without overlap; others go on", { timeout: 60_000 }, async () => {
    const [deleted, rotated, kept] = await Promise.all([1, 2, 3].map(() => secured.createKey({ role: "viewer" })));
    const follow = async (key: string): Promise<{ text: Promise<string>; isOver(): boolean }> => {
      const response = await fetch(`${secured.server.api}/functions/slow/logs?follow&tail=0`, authorize(key));
      assert.equal(response.status, 200);
      let isOver = false;
      const text = response.text().finally(() => (isOver = true));
      return { text, isOver: () => isOver };
    };
    const [first, second, third] = [await follow(deleted!.key), await follow(rotated!.key), await follow(kept!.key)];
    const fourth = await follow(ADMIN);
    assert.equal((await secured.admin("DELETE", `/api/v1/keys/${deleted!.id}`)).status, 204);
    assert.equal((await secured.admin("POST", `/api/v1/keys/${rotated!.id}/rotate`, { overlapSeconds: 0 })).status, 200);
    assert.deepEqual([await first.text, await second.text], ["", ""]);
    assert.equal((await secured.send("GET", "/fn/slow?ms=0", { key: ADMIN })).status, 200);
    assert.deepEqual([third.isOver(), fourth.isOver()], [false, false]);
    assert.equal((await secured.admin("DELETE", "/api/v1/functions/slow")).status, 204);
    for (const text of [await third.text, await fourth.text]) assert.match(text, /called/);
  });
});

test("a key that two rotate at once works on for both, and by its old secret as each was promised", async () => {
  await using secured = await SecuredServer.start();
  const { id, key } = await secured.createKey({ role: "viewer" });
  const rotate = () => secured.admin("POST", `/api/v1/keys/${id}/rotate`, { overlapSeconds: 600 });
  const rotations = await Promise.all([rotate(), rotate(), rotate()]);
  assert.deepEqual(
    rotations.map(({ status }) => status),
    [200, 200, 200],
  );
  const secrets = [key, ...rotations.map(({ body }) => body.key)];
  assert.equal(new Set(secrets).size, 4);
  const statuses = async () =>
    await Promise.all(secrets.map(async (each) => (await secured.send("GET", "/api/v1/runtimes", { key: each })).status));
  assert.deepEqual(await statuses(), [200, 200, 200, 200]);
  assert.equal((await secured.admin("DELETE", `/api/v1/keys/${id}`)).status, 204);
  assert.deepEqual(await statuses(), [401, 401, 401, 401]);
});

test("there are so many keys and no more, which is told; those that are there work, and one that goes makes room", async (t) => {
  const dataFolder = createDataFolder();
  t.after(() => rmSync(dataFolder, { recursive: true, force: true }));
  const last = createKeyText();
  await fillKeys(dataFolder, last);
  await using secured = await SecuredServer.start({ dataFolder });
  const create = () => secured.admin("POST", "/api/v1/keys", { name: "one more", role: "viewer" });
  const [made, refused] = [await create(), await create()];
  assert.equal(made.status, 201);
  assert.deepEqual([refused.status, refused.body.code], [403, "FORBIDDEN"]);
  assert.match(refused.body.error, new RegExp(`${MAX_API_KEYS} keys already; delete some`));
  assert.equal((await secured.admin("GET", "/api/v1/keys")).body.length, MAX_API_KEYS);
  for (const key of [last.text, made.body.key]) assert.equal((await secured.send("GET", "/api/v1/runtimes", { key })).status, 200);
  assert.equal((await secured.admin("POST", `/api/v1/keys/${last.id}/rotate`)).status, 200);
  assert.equal((await secured.admin("DELETE", `/api/v1/keys/${made.body.id}`)).status, 204);
  const both = await Promise.all([create(), create()]);
  assert.deepEqual(new Set(both.map(({ status }) => status)), new Set([201, 403]));
});

/** One key less than there may be. */
async function fillKeys(folder: string, last: { id: string; text: string }): Promise<void> {
  const sqlite = await createSqliteStore({ folder, modules: [KEYS_MODULE], onFatal: failOnFatal });
  const store = new SqliteKeyStore(sqlite.client);
  const put = (id: string, hash: Uint8Array) =>
    store.put({ id, name: `key ${id}`, role: "viewer", functions: ["*"], createdAtMs: 1_800_000_000_000, secrets: [{ hash }] });
  const ids = Array.from({ length: MAX_API_KEYS - 2 }, (_, index) => String(index).padStart(12, "0"));
  await Promise.all([...ids.map((id) => put(id, hashKey(id))), put(last.id, hashKey(last.text))]);
  await sqlite.stop();
}
