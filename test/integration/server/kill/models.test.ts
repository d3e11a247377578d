import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, type TestContext, test } from "node:test";
import { identify } from "../../../../packages/server/src/instances/local/sandbox/process-tree.ts";
import type { Client } from "../support/client.ts";
import { ownersFolder, describeDead, findLeftovers } from "../support/leftovers.ts";
import { checkCronRuns } from "./cron-model.ts";
import { FunctionModel } from "./function-model.ts";
import { type Buried, type Delivered, MessageModel } from "./message-model.ts";

// Each of these would be found in the history of a server that breaks its promise; the histories are written by hand.

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ks-history-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

describe("the model of messages", () => {
  const delivered = (number: number, attempt = 1, messageId = `id-${number}`): Delivered => ({
    kind: "delivered",
    number,
    messageId,
    attempt,
  });
  const buried = (number: number): Buried => ({ kind: "buried", number });
  /** After eight accepted messages, the eighth of them poison. */
  const publishEight = async (): Promise<MessageModel> => {
    const model = new MessageModel();
    const answers = {
      publish: async (_queue: string, { number }: { number: number }) => ({ status: 202, json: { messageId: `id-${number}` } }),
    };
    for (let count = 0; count < 8; count++) await model.publish(answers as unknown as Client);
    return model;
  };
  const whole = [1, 2, 3, 4, 5, 6, 7].map((number) => delivered(number));
  const poison = [1, 2, 3].map((attempt) => delivered(8, attempt));

  test("passes what was done or is dead, and repeats", async () => {
    (await publishEight()).checkEnd([...whole, delivered(3, 2), ...poison, buried(8)]);
    (await publishEight()).checkCounts({ ready: 1, unacked: 1, dead: 1 }, whole.slice(0, 5));
  });

  const ends: [string, object[], RegExp][] = [
    ["one that was accepted and never done", [...whole.slice(1), ...poison, buried(8)], /neither done nor dead/],
    ["poison that is nowhere", [...whole, ...poison], /neither done nor dead/],
    ["one that nobody published", [...whole, ...poison, buried(8), delivered(9)], /never published/],
    ["an attempt beyond the last", [...whole, ...poison, delivered(8, 4), buried(8)], /message 8 has attempt 4/],
    ["an attempt before the first", [...whole, delivered(1, 0), ...poison, buried(8)], /message 1 has attempt 0/],
    ["another id at a repeat", [...whole, delivered(2, 2, "id-new"), ...poison, buried(8)], /message 2 changed its id/],
  ];
  for (const [what, events, finding] of ends) {
    test(`finds ${what}`, async () => {
      const model = await publishEight();
      assert.throws(() => model.checkEnd(events), { message: finding });
    });
  }

  test("finds that less waits than is open", async () => {
    const model = await publishEight();
    assert.throws(() => model.checkCounts({ ready: 2, unacked: 0, dead: 0 }, whole.slice(0, 5)), { message: /3 accepted messages/ });
  });
});

describe("the model of a function", () => {
  const nothing = { status: 404, json: { error: "Function not found" }, text: "not found" };
  /** With an acknowledged first version, which loads, and what the server says of it now. */
  const createAnd = async (now: (code: string) => object): Promise<{ model: FunctionModel; client: Client }> => {
    const model = new FunctionModel("ash", () => 0.6);
    let found: object = nothing;
    const answers = {
      create: async ({ code }: { code: string }) => {
        found = now(code);
        return { status: 201, json: {}, text: "" };
      },
      get: async () => found,
      settled: async () => (found as { json: { state: string } }).json,
      invoke: async () => ({ status: 200, json: { body: { version: "ash#0" } }, text: '{"version":"ash#0"}' }),
    };
    const client = answers as unknown as Client;
    await model.change(client);
    return { model, client };
  };
  const there = (code: string, changes: object = {}): object => ({
    status: 200,
    json: { code, maxReplicas: 5, state: "running", ...changes },
    text: "as it is",
  });

  test("passes what was acknowledged", async () => {
    const { model, client } = await createAnd((code) => there(code));
    await model.check(client);
    assert.equal(model.isThere, true);
  });

  const cases: [string, (code: string) => object, RegExp][] = [
    ["a deploy that is gone", () => nothing, /^ash is not found/],
    ["code that nobody sent", () => there("exports.handler = 1"), /^ash is as it is/],
    ["a limit that nobody set", (code) => there(code, { maxReplicas: 6 }), /^ash is as it is/],
    ["an answer that is neither", () => ({ status: 500, json: {}, text: "Internal server error" }), /^ash: Internal/],
  ];
  for (const [what, now, finding] of cases) {
    test(`finds ${what}`, async () => {
      const { model, client } = await createAnd(now);
      await assert.rejects(model.check(client), { message: finding });
    });
  }

  test("finds one that is failed though it loads, and one that answers by an old version", async () => {
    const failed = await createAnd((code) => there(code, { state: "failed" }));
    await assert.rejects(failed.model.checkSettled(failed.client), { message: /ash/ });
    const old = await createAnd((code) => there(code));
    await assert.rejects(old.model.checkSettled(old.client), { message: /^ash answers/ });
  });

  test("finds a deleted one that came back, and allows both where the answer never came", async () => {
    let next = 0.6;
    const model = new FunctionModel("ash", () => next);
    let code = "";
    const answers = {
      create: async (body: { code: string }) => (code = body.code) && { status: 201, json: {}, text: "" },
      delete: async () => ({ status: 204, text: "" }),
      get: async () => there(code),
    };
    await model.change(answers as unknown as Client);
    next = 0.1;
    const dies = { ...answers, delete: () => Promise.reject(new TypeError("fetch failed")) };
    await assert.rejects(model.change(dies as unknown as Client), TypeError);
    await model.check(answers as unknown as Client);
    await model.change(answers as unknown as Client);
    await assert.rejects(model.check(answers as unknown as Client), { message: /^ash is as it is/ });
  });
});

describe("the model of cron runs", () => {
  const at = (second: number): number => Date.UTC(2026, 0, 1, 0, 0, second);
  const ran = (...seconds: number[]) => seconds.map((second) => ({ kind: "cron", plannedAt: new Date(at(second)).toISOString() }));
  const record = (t: TestContext, runs: Record<number, string>): string => {
    const folder = folderOf(t);
    const database = new DatabaseSync(join(folder, "state.db"));
    database.exec("CREATE TABLE cron_runs (planned_at_ms INTEGER, state TEXT)");
    for (const [second, state] of Object.entries(runs))
      database.prepare("INSERT INTO cron_runs VALUES (?, ?)").run(at(Number(second)), state);
    database.close();
    return folder;
  };

  test("passes runs with their outcomes", (t) => {
    const folder = record(t, { 1: "succeeded", 2: "interrupted", 3: "missed", 4: "skipped" });
    assert.equal(checkCronRuns(folder, ran(1, 2))["succeeded"], 1);
  });

  const cases: [string, Record<number, string>, object[], RegExp][] = [
    ["a planned time that ran twice", { 1: "succeeded" }, ran(1, 1), /ran twice/],
    ["a run that is left open", { 1: "succeeded", 2: "handed-over" }, ran(1), /is left handed-over/],
    ["a claim that nobody took up", { 1: "claimed" }, [], /is left claimed/],
    ["a success that never ran", { 1: "succeeded", 2: "succeeded" }, ran(1), /is said to have run/],
    ["a run that counts as missed", { 1: "missed" }, ran(1), /is recorded as missed/],
    ["a run without a claim", { 1: "succeeded" }, ran(1, 2), /is recorded as undefined/],
  ];
  for (const [what, runs, events, finding] of cases) {
    test(`finds ${what}`, (t) => {
      const folder = record(t, runs);
      assert.throws(() => checkCronRuns(folder, events), { message: finding });
    });
  }
});

test("what a dead server left is found: a process and its notes", async (t) => {
  const dead = spawn("/bin/true");
  const identity = identify(dead.pid!);
  await once(dead, "exit");
  assert.ok(identity !== undefined);
  const survivor = spawn("/bin/sleep", ["60"], { detached: true, stdio: "ignore" });
  await once(survivor, "spawn");
  const dataFolder = folderOf(t);
  const folder = join(ownersFolder(dataFolder), `${identity.pid}-${identity.startTime}-1`);
  t.after(() => {
    survivor.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  mkdirSync(folder, { recursive: true });
  const group = identify(survivor.pid!);
  writeFileSync(join(folder, `group-${group!.pid}-${group!.startTime}`), "");
  const found = describeDead(identity.pid, dataFolder);
  assert.deepEqual(findLeftovers(found), [folder, `process ${survivor.pid}`]);
  survivor.kill("SIGKILL");
  await once(survivor, "exit");
  rmSync(folder, { recursive: true });
  assert.deepEqual(findLeftovers(found), []);
});
