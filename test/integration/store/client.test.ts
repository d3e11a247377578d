import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { createSqliteClient, type SqliteClient } from "../../../packages/server/src/store/sqlite/client.ts";
import { failOnFatal, makeScratch, readToEnd, startProgram } from "./scratch.ts";

const V1 = new URL("./modules/notes-v1.ts", import.meta.url);
const V2 = new URL("./modules/notes-v2.ts", import.meta.url);
const BROKEN_UPGRADE = new URL("./modules/notes-broken-upgrade.ts", import.meta.url);

let scratch: ReturnType<typeof makeScratch>;
let folder: string;
let count = 0;
before(() => {
  scratch = makeScratch();
});
after(() => scratch.remove());
beforeEach(() => {
  folder = `${scratch.path}/${++count}`;
  mkdirSync(folder);
});

const opened: SqliteClient[] = [];
afterEach(async () => {
  for (const client of opened.splice(0)) await client.stop();
});

async function open(module: URL): Promise<SqliteClient> {
  const client = await createSqliteClient({ folder, modules: [module], ballastBytes: 65_536, onFatal: failOnFatal });
  opened.push(client);
  return client;
}

async function list(client: SqliteClient): Promise<string[]> {
  return await client.run<string[]>("notes.list");
}

/** A file of version 1 that holds these notes, closed. */
async function writeNotes(...notes: string[]): Promise<void> {
  const client = await open(V1);
  for (const note of notes) await client.run("notes.add", note);
  await client.stop();
}

describe("operations of a module", () => {
  test("that arrive together succeed and fail apart, and take effect in order", async () => {
    const client = await open(V1);
    const results = await Promise.allSettled([
      client.run("notes.add", "one"),
      client.run("notes.addThenFail", "never"),
      client.run("notes.list"),
      client.run("notes.add", "two"),
      client.run("notes.add", "3"),
      client.run("notes.unknown"),
      client.run("notes.list"),
    ]);
    const outcomes = results.map((result) => (result.status === "fulfilled" ? result.value : String(result.reason)));
    assert.deepEqual(outcomes[2], ["one"]);
    assert.deepEqual(outcomes[6], ["one", "two", "3"]);
    assert.match(String(outcomes[1]), /changed its mind/);
    assert.match(String(outcomes[5]), /No such operation: notes.unknown/);
    await client.stop();
    const again = await open(V1);
    assert.deepEqual(await list(again), ["one", "two", "3"]);
    await again.stop();
  });

  test("that were asked for before stop are done and acknowledged", async () => {
    const client = await open(V1);
    const adds = Array.from({ length: 2000 }, (_, index) => client.run("notes.add", String(index)));
    const stopped = client.stop();
    await Promise.all(adds);
    await stopped;
    await assert.rejects(client.run("notes.add", "late"), /closed/);
    assert.deepEqual(readdirSync(folder).sort(), ["ballast", "metrics.db", "state.db"]);
    const again = await open(V1);
    assert.equal((await list(again)).length, 2000);
    await again.stop();
  });

  test("that do not fit through the thread's border fail, and others go on", async () => {
    const client = await open(V1);
    await assert.rejects(
      client.run("notes.add", () => {}),
      /could not be cloned/,
    );
    await client.run("notes.add", "fine");
    assert.deepEqual(await list(client), ["fine"]);
    await client.stop();
  });

  test("keep the log from growing, however much is written", async () => {
    const client = await open(V1);
    const text = "x".repeat(100_000);
    for (let index = 0; index < 500; index++) await client.run("notes.add", text);
    const { size } = statSync(`${folder}/state.db-wal`);
    assert.ok(size < 8 * 1024 * 1024, `${size} bytes of log after 50 MB written`);
    await client.stop();
  });
});

describe("a schema", () => {
  test("of an older version is brought up to date, with a copy kept from before", async () => {
    await writeNotes("first", "second");
    const client = await open(V2);
    assert.deepEqual(await list(client), ["FIRST 0", "SECOND 0"]);
    await client.stop();
    const copy = `${folder}/state.db.before-notes-3`;
    assert.equal(statSync(copy).mode & 0o777, 0o600);
    mkdirSync(`${folder}/back`);
    copyFileSync(copy, `${folder}/back/state.db`);
    folder = `${folder}/back`;
    const older = await open(V1);
    assert.deepEqual(await list(older), ["first", "second"]);
    await older.stop();
  });

  test("that is up to date is opened without a copy", async () => {
    await writeNotes("one");
    await (await open(V1)).stop();
    assert.deepEqual(readdirSync(folder).sort(), ["ballast", "metrics.db", "state.db"]);
  });

  test("of a newer version is refused, saying so, and left as it was", async () => {
    await (await open(V2)).stop();
    const before = readFileSync(`${folder}/state.db`);
    await assert.rejects(open(V1), /state\.db was written by a newer Kube-Serverless .*start the newer version/);
    assert.ok(readFileSync(`${folder}/state.db`).equals(before));
  });

  test("whose upgrade fails stays what it was", async () => {
    await writeNotes("precious");
    await assert.rejects(open(BROKEN_UPGRADE), /state\.db cannot be opened: near "THIS": syntax error/);
    const client = await open(V1);
    assert.deepEqual(await list(client), ["precious"]);
    await client.stop();
  });

  test("whose upgrade is killed half-way is brought up to date at the next start", async () => {
    await writeNotes("precious");
    const ended = await readToEnd(startProgram("open-main.ts", [folder, V2.href, "store.in-migration:1"]));
    assert.equal(ended.signal, "SIGKILL", ended.stderr);
    const client = await open(V2);
    assert.deepEqual(await list(client), ["PRECIOUS 0"]);
    await client.stop();
  });
});
