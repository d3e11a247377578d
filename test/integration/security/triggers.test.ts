import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { createDataFolder, waitFor } from "../../support/server.ts";
import { SecuredServer } from "./support/secured.ts";

/** Prints what called it. */
const TELLS =
  "exports.handler = async ({ trigger, body }, { caller }) => console.log(JSON.stringify({ ...trigger, body, caller: caller ?? null }));";
const queueTrigger = (queue: string, more: object = {}) => ({ type: "queue", config: { queue, concurrency: 1, ...more } });

describe("with authentication on, cron and queue triggers", () => {
  const dataFolder = createDataFolder();
  let secured: SecuredServer;
  before(async () => {
    secured = await SecuredServer.start({ dataFolder, flags: ["--cost-per-gb-second", "0", "--cost-per-invocation", "0.1"] });
  });
  after(async () => {
    await secured.server.stop();
    rmSync(dataFolder, { recursive: true, force: true });
  });

  const printedBy = async (name: string): Promise<Record<string, any>[]> =>
    (await secured.admin("GET", `/api/v1/functions/${name}/logs?tail=100`)).body.map(({ message }: { message: string }) =>
      JSON.parse(message),
    );
  const publish = async (queue: string, body: unknown, key?: string) => {
    const sent = await secured.send("POST", `/api/v1/queues/${queue}/messages`, key === undefined ? { body } : { body, key });
    return sent.status;
  };

  test("call a function that asks for a caller, and tell it of none", async () => {
    const { key } = await secured.createKey({ role: "invoker", functions: "asks" });
    await secured.deploy("asks", TELLS, {
      auth: "required",
      triggers: [{ type: "cron", config: { schedule: "* * * * * *" } }, queueTrigger("asked")],
    });
    assert.equal((await secured.send("POST", "/fn/asks")).status, 401);
    assert.equal(await publish("asked", 1), 401);
    assert.equal(await publish("asked", 2, key), 202);
    const printed = await waitFor("a run of each", async () => {
      const all = await printedBy("asks");
      return ["cron", "queue"].every((type) => all.some((each) => each["type"] === type)) && all;
    });
    for (const each of printed) assert.equal(each["caller"], null, each["type"]);
    const { runs } = (await secured.admin("GET", "/api/v1/functions/asks/cron")).body;
    await waitFor("a run that is recorded", async () =>
      (await secured.admin("GET", "/api/v1/functions/asks/cron")).body.runs.some(({ state }: { state: string }) => state === "succeeded"),
    );
    assert.ok(runs.every(({ state }: { state: string }) => state !== "failed"));
    assert.equal((await secured.admin("DELETE", "/api/v1/functions/asks")).status, 204);
  });

  test("wait with messages while the budget is spent, count no attempt, and lose none", async () => {
    const spec = { triggers: [queueTrigger("bills", { maxAttempts: 1 })] };
    const { key } = await secured.createKey({ role: "developer", functions: "payer" });
    await secured.deploy("payer", TELLS, { ...spec, budget: { perDay: 0.2 } });
    for (let number = 1; number <= 5; number++) assert.equal(await publish("bills", number, key), 202);
    const stats = async () => (await secured.admin("GET", "/api/v1/queues/bills")).body;
    await waitFor("the budget to be spent", async () => (await printedBy("payer")).length === 2);
    await waitFor("the first two to be done", async () => (await stats()).ready + (await stats()).unacked === 3);
    assert.equal((await secured.send("POST", "/fn/payer", { key, body: {} })).body.code, "BUDGET_EXCEEDED");
    // A restart keeps both: that it is spent, and what waits.
    assert.equal((await secured.server.stop()).code, 0);
    secured = await SecuredServer.start({ dataFolder, flags: ["--cost-per-gb-second", "0", "--cost-per-invocation", "0.1"] });
    assert.equal((await stats()).ready + (await stats()).unacked, 3);
    const body = { runtime: "nodejs18", handler: "index.handler", code: TELLS, ...spec, budget: { perDay: 100 } };
    assert.equal((await secured.send("PUT", "/api/v1/functions/payer", { key, body })).status, 200);
    const printed = await waitFor("the others", async () => {
      const all = await printedBy("payer");
      return all.filter(({ type }) => type === "queue").length === 5 && all;
    });
    assert.deepEqual(
      printed.filter(({ type }) => type === "queue").map(({ body: number, attempt }) => [number, attempt]),
      [1, 2, 3, 4, 5].map((number) => [number, 1]),
    );
    await waitFor("nothing to be left", async () => Object.values(await stats()).every((value) => value === 0 || value === "bills"));
  });

  test("record that a run failed while the budget is spent, and why in the log", async () => {
    await secured.deploy("nightly", TELLS, {
      budget: { perDay: 0.1 },
      triggers: [{ type: "cron", config: { schedule: "* * * * * *" } }],
    });
    const states = async (): Promise<string[]> =>
      (await secured.admin("GET", "/api/v1/functions/nightly/cron")).body.runs.map(({ state }: { state: string }) => state);
    await waitFor("a run that was refused", async () => (await states()).includes("failed"), 20_000);
    const recorded = await states();
    assert.equal(recorded.filter((state) => state === "succeeded").length, 1);
    assert.equal((await printedBy("nightly")).length, 1);
    const told = secured.server.log.find(({ msg, code }) => msg === "cron run failed" && code === "BUDGET_EXCEEDED");
    assert.match(String(told?.["reason"]), /Budget exceeded/);
  });
});

test("who confines a developer keeps the queues of others: only who may change all that take from one adds another", async () => {
  await using secured = await SecuredServer.start();
  const [{ key: a }, { key: b }] = [
    await secured.createKey({ role: "developer", functions: "a-*" }),
    await secured.createKey({ role: "developer", functions: "b-*" }),
  ];
  const deploy = (key: string, name: string, queues: string[], method = "POST") =>
    secured.send(method, method === "POST" ? "/api/v1/functions" : `/api/v1/functions/${name}`, {
      key,
      body: { name, runtime: "nodejs18", handler: "index.handler", code: TELLS, triggers: queues.map((queue) => queueTrigger(queue)) },
    });
  assert.equal((await deploy(a, "a-orders", ["orders"])).status, 201);
  for (const queue of ["orders", "orders.dead", "orders.retry.1000"]) {
    const refused = await deploy(b, "b-spy", [queue]);
    assert.deepEqual([refused.status, refused.body.code], [403, "FORBIDDEN"], queue);
    assert.match(refused.body.error, new RegExp(`take from the queue ${queue}`));
    assert.equal(JSON.stringify(refused.body).includes("a-orders"), false);
  }
  assert.equal((await secured.send("GET", "/api/v1/functions/b-spy", { key: b })).status, 404);
  // Nor by a change of what was harmless, nor by keeping one name and adding another.
  assert.equal((await deploy(b, "b-mine", ["mine"])).status, 201);
  assert.equal((await deploy(b, "b-mine", ["mine", "orders"], "PUT")).status, 403);
  // One's own, of one's own team, and by who reaches all.
  assert.equal((await deploy(a, "a-orders", ["orders", "orders.dead"], "PUT")).status, 200);
  assert.equal((await deploy(a, "a-audit", ["orders"])).status, 201);
  assert.equal((await secured.admin("DELETE", "/api/v1/functions/a-audit")).status, 204);
  await secured.deploy("b-shared", TELLS, { triggers: [queueTrigger("orders")] });
  // What was shared out stays so when its developer changes something else.
  assert.equal((await deploy(b, "b-shared", ["orders"], "PUT")).status, 200);
  assert.equal((await deploy(a, "a-more", ["orders"])).status, 403);
});
