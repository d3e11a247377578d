import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createKeyText, hashKey } from "../../../packages/server/src/security/keys/key-text.ts";
import { MemoryKeyStore } from "../../../packages/server/src/security/keys/memory-key-store.ts";
import type { ApiKeyStore, StoredApiKey } from "../../../packages/server/src/security/keys/port.ts";
import { KEYS_MODULE, SqliteKeyStore } from "../../../packages/server/src/security/sqlite/sqlite-key-store.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, makeScratch } from "../store/scratch.ts";

interface Driver {
  store: ApiKeyStore;
  restart(): Promise<ApiKeyStore>;
  end(): Promise<void>;
  /** Where a secret must not be found. */
  folder?: string;
}

const buildKey = (id: string, changes: Partial<StoredApiKey> = {}): StoredApiKey => ({
  id,
  name: `key ${id}`,
  role: "developer",
  functions: ["*"],
  createdAtMs: 1_800_000_000_000,
  secrets: [{ hash: Uint8Array.from(hashKey(id)) }],
  ...changes,
});

/** Buffers and arrays of the same bytes are the same. */
const plain = (keys: readonly StoredApiKey[]) =>
  keys.map((key) => ({ ...key, secrets: key.secrets.map((secret) => ({ ...secret, hash: [...secret.hash] })) }));

function describeKeyStore(name: string, open: () => Promise<Driver>): void {
  describe(`${name} key store`, () => {
    let driver: Driver;
    before(async () => {
      driver = await open();
    });
    after(() => driver.end());

    test("what was put is there after a restart, whole and in order of age", async () => {
      const full = buildKey("full", {
        createdAtMs: 1_800_000_000_001,
        expiresAtMs: 1_900_000_000_000,
        lastUsedAtMs: 1_800_000_000_002,
        rateLimit: { requestsPerSecond: 2.5, burst: 7 },
        maxConcurrency: 3,
        functions: ["a-*", "b"],
        secrets: [{ hash: Uint8Array.from(hashKey("new")) }, { hash: Uint8Array.from(hashKey("old")), validUntilMs: 1_800_000_060_000 }],
      });
      await driver.store.put(full);
      await driver.store.put(buildKey("plain"));
      driver.store = await driver.restart();
      assert.deepEqual(plain(await driver.store.load()), plain([buildKey("plain"), full]));
    });

    test("putting again replaces", async () => {
      await driver.store.put(buildKey("plain", { role: "viewer" }));
      assert.equal((await driver.store.load()).find(({ id }) => id === "plain")?.role, "viewer");
    });

    test("a use is noted of keys that exist, and never goes back", async () => {
      await driver.store.saveLastUse(
        new Map([
          ["plain", 2_000],
          ["gone", 2_000],
        ]),
      );
      await driver.store.saveLastUse(new Map([["plain", 1_000]]));
      const keys = await driver.store.load();
      assert.equal(keys.find(({ id }) => id === "plain")?.lastUsedAtMs, 2_000);
      assert.equal(keys.length, 2);
    });

    test("what was removed stays away", async () => {
      await driver.store.remove("plain");
      await driver.store.remove("never was");
      driver.store = await driver.restart();
      assert.deepEqual(
        (await driver.store.load()).map(({ id }) => id),
        ["full"],
      );
    });

    test("no file holds a secret", async () => {
      const { id, text } = createKeyText();
      await driver.store.put(buildKey(id, { secrets: [{ hash: hashKey(text) }] }));
      const { folder } = driver;
      if (folder === undefined) return;
      const files = readdirSync(folder).filter((file) => file.startsWith("state.db"));
      assert.ok(files.length > 0);
      assert.ok(files.every((file) => !readFileSync(join(folder, file)).includes(text.slice(20))));
    });
  });
}

describeKeyStore("memory", async () => {
  const store = new MemoryKeyStore();
  return { store, restart: async () => store, end: async () => {} };
});

describeKeyStore("SQLite", async () => {
  const scratch = makeScratch();
  const folder = join(scratch.path, "data");
  const openStore = () => createSqliteStore({ folder, ballastBytes: 65_536, modules: [KEYS_MODULE], onFatal: failOnFatal });
  let sqlite = await openStore();
  return {
    store: new SqliteKeyStore(sqlite.client),
    folder,
    restart: async () => {
      await sqlite.stop();
      sqlite = await openStore();
      return new SqliteKeyStore(sqlite.client);
    },
    end: async () => {
      await sqlite.stop();
      scratch.remove();
    },
  };
});
