import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { KsError } from "../../../packages/contracts/src/index.ts";
import { createSqliteStore, type SqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { failOnFatal, makeScratch, readToEnd, startProgram, waitFor } from "./scratch.ts";
import { buildFunction } from "./store-suite.ts";

let scratch: ReturnType<typeof makeScratch>;
let folder: string;
let count = 0;
before(() => {
  scratch = makeScratch();
});
after(() => scratch.remove());
beforeEach(() => {
  folder = `${scratch.path}/${++count}/data`;
});

const opened: SqliteStore[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.stop();
});

async function open(): Promise<SqliteStore> {
  const store = await createSqliteStore({ folder, ballastBytes: 65_536, onFatal: failOnFatal });
  opened.push(store);
  return store;
}

function isUnavailable(pattern: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof KsError);
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.match(error.message, pattern);
    return true;
  };
}

/** A store with enough functions to fill many pages, closed. */
async function writeFunctions({ count = 200, codeBytes = 2000 } = {}): Promise<void> {
  const store = await open();
  const code = "x".repeat(codeBytes);
  await Promise.all(Array.from({ length: count }, (_, index) => store.putFunction(buildFunction(`f-${index}`), code)));
  await store.stop();
}

function overwrite(file: string, from: number, length: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0xa5, from, from + length);
  writeFileSync(file, bytes);
}

describe("the data folder", () => {
  test("is made for its owner alone, whatever the umask", async () => {
    const old = process.umask(0);
    try {
      const store = await open();
      await store.putFunction(buildFunction("f"), "code");
      await store.saveMetrics(new Map([["f", new Uint8Array([1])]]));
      assert.equal(statSync(folder).mode & 0o777, 0o700);
      const files = readdirSync(folder);
      assert.ok(files.includes("state.db-wal"));
      for (const file of files) assert.equal(statSync(`${folder}/${file}`).mode & 0o777, 0o600, file);
      await store.stop();
    } finally {
      process.umask(old);
    }
  });

  test("that stood open is closed to others", async () => {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o755);
    await (await open()).stop();
    assert.equal(statSync(folder).mode & 0o777, 0o700);
  });

  test("that cannot be made says why", async () => {
    mkdirSync(`${scratch.path}/${count}`, { recursive: true });
    writeFileSync(folder, "a file");
    await assert.rejects(open(), isUnavailable(/The data folder .* cannot be used: .*; choose another one/));
  });

  test("that the kernel lets nobody make says so instead of trying for ever", async () => {
    folder = "/proc/kube-serverless/data";
    await assert.rejects(open(), isUnavailable(/ENOENT|EACCES|EPERM/));
  });

  test("is used by one server at a time, and free as soon as that one is dead", async () => {
    const holder = startProgram("hold-main.ts", [folder]);
    let isOpen = false;
    const ended = readToEnd(holder, () => {
      isOpen = true;
    });
    await waitFor("the first server", () => isOpen);
    await assert.rejects(open(), isUnavailable(new RegExp(`in use by another server \\(process ${holder.pid}\\): stop it`)));
    holder.kill("SIGKILL");
    await ended;
    const store = await open();
    assert.deepEqual(await store.loadFunctions(), [buildFunction("held")]);
    await store.stop();
  });

  test("is not opened twice by the same process", async () => {
    const store = await open();
    await assert.rejects(open(), isUnavailable(/in use by this same process/));
    await store.putFunction(buildFunction("f"), "still works");
    await store.stop();
    await (await open()).stop();
  });
});

describe("a data folder of an older version", () => {
  test("keeps its cron runs, which tell neither their call nor why they failed", async () => {
    await (await open()).stop();
    const file = new DatabaseSync(`${folder}/state.db`);
    for (const column of ["request_id", "error_code", "error"]) file.exec(`ALTER TABLE cron_runs DROP COLUMN ${column}`);
    file.exec("UPDATE schema_versions SET version = 1 WHERE module = 'cron'");
    file.exec("INSERT INTO cron_runs VALUES ('old', 60000, 'u1', 'failed'), ('old', 120000, 'u1', 'handed-over')");
    file.close();
    const store = await open();
    assert.deepEqual(await store.listCronRuns("u1", 10), [
      { triggerId: "old", uid: "u1", plannedAtMs: 120_000, state: "handed-over" },
      { triggerId: "old", uid: "u1", plannedAtMs: 60_000, state: "failed" },
    ]);
    await store.finishCronRun("old", 120_000, "failed", { code: "TIMEOUT", error: "too long" });
    assert.deepEqual((await store.listCronRuns("u1", 1))[0]?.failure, { code: "TIMEOUT", error: "too long" });
  });
});

describe("a damaged file", () => {
  test("is named, with what to do", async () => {
    await writeFunctions();
    overwrite(`${folder}/state.db`, 0, 4096);
    await assert.rejects(open(), isUnavailable(/state\.db is damaged \(file is not a database\): put a backup in its place/));
  });

  test("that was cut short is found at the start", async () => {
    await writeFunctions();
    const bytes = readFileSync(`${folder}/state.db`);
    writeFileSync(`${folder}/state.db`, bytes.subarray(0, bytes.length / 2));
    await assert.rejects(open(), isUnavailable(/state\.db is damaged .*: put a backup in its place/));
  });

  test("with a damaged page in its middle is found at the start", async () => {
    await writeFunctions();
    overwrite(`${folder}/state.db`, 40_960, 8192);
    await assert.rejects(open(), isUnavailable(/state\.db is damaged .*: put a backup in its place/));
  });

  test("is looked for in a large file only after a server was cut off: the check would be most of a start", async () => {
    await writeFunctions({ count: 12, codeBytes: 1_000_000 });
    overwrite(`${folder}/state.db`, 6_000_000, 4096);
    writeFileSync(`${folder}/state.db-wal`, "");
    await (await open()).stop();
    writeFileSync(`${folder}/state.db-wal`, "no whole frame");
    await assert.rejects(open(), isUnavailable(/state\.db is damaged .*: put a backup in its place/));
  });

  test("is left alone when it belongs to another program", async () => {
    mkdirSync(folder, { recursive: true });
    const other = new DatabaseSync(`${folder}/state.db`);
    other.exec("CREATE TABLE diary (entry TEXT)");
    other.close();
    const before = readFileSync(`${folder}/state.db`);
    await assert.rejects(open(), isUnavailable(/state\.db is another program's database/));
    assert.ok(readFileSync(`${folder}/state.db`).equals(before));
  });

  test("of metrics says that counters can be begun anew", async () => {
    await writeFunctions();
    overwrite(`${folder}/metrics.db`, 0, 4096);
    await assert.rejects(open(), isUnavailable(/metrics\.db is damaged .*: .*move it away to start empty/));
  });
});
