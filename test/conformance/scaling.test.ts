import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import type { Answer } from "./support/client.ts";
import { openPlatform } from "./support/platform.ts";

const IDLE_MS = 1000;
const platform = await openPlatform({
  flags: ["--idle-timeout", `${IDLE_MS}ms`, "--queue-timeout", "5s", "--max-queued-calls", "20", "--max-queued-size", "8MiB"],
});
/** What only short limits let a test wait for. */
const needsOwn = platform.isOwn ? false : "needs a server with short limits, which the suite starts itself";
/** Calls that may wait, as documented or as our flags say. */
const MAX_QUEUED = platform.isOwn ? 20 : 1000;

/** Says which replica answered, and how many calls were in it at the most. */
const COUNTING = `const id = Math.random(); let now = 0, most = 0; exports.handler = async ({ body }) => {
  most = Math.max(most, ++now);
  await new Promise((resolve) => setTimeout(resolve, body?.ms ?? 0));
  now--;
  return { id, most };
};`;

interface Scaling {
  replicas: number;
  desired: number;
  min: number;
  max: number;
  inFlight: number;
  queued: number;
  decisions: { time: string; from: number; to: number; reason: string }[];
}

async function scaling(name: string): Promise<Scaling> {
  return (await platform.get(`/functions/${name}/scaling`)).json as Scaling;
}

async function replicas(name: string): Promise<number> {
  return (await platform.get(`/functions/${name}`)).json.status.replicas as number;
}

function invokeMany(name: string, count: number, body: object): Promise<Answer[]> {
  return Promise.all(Array.from({ length: count }, () => platform.invoke(name, body)));
}

function idsOf(answers: readonly Answer[]): Set<number> {
  return new Set(answers.map(({ json }) => json.body.id as number));
}

describe("a function at zero replicas", { concurrency: 4 }, () => {
  test("is started by its first call", async () => {
    const name = await platform.deploy({ code: COUNTING });
    assert.equal(await replicas(name), 0);
    assert.equal((await platform.invoke(name)).status, 200);
    const { status } = (await platform.get(`/functions/${name}`)).json;
    assert.deepEqual([status.state, status.replicas, status.readyReplicas], ["running", 1, 1]);
  });

  test("answers ten calls at once, all of them, with one start", async () => {
    const name = await platform.deploy({ code: COUNTING });
    const answers = await invokeMany(name, 10, { ms: 50 });
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal(idsOf(answers).size, 1);
  });

  test("of Python, one call at a time, answers eight at once, none beside another", async () => {
    const code = `import random, time
id = random.random()
now = 0
most = 0
def handler(event):
    global now, most
    now += 1
    most = max(most, now)
    time.sleep(0.2)
    now -= 1
    return {"id": id, "most": most}
`;
    const name = await platform.deploy({ runtime: "python39", code });
    const answers = await invokeMany(name, 8, {});
    const refused = answers.filter(({ status }) => status !== 200);
    assert.deepEqual(refused, [], refused[0]?.text);
    assert.deepEqual([...new Set(answers.map(({ json }) => json.body.most))], [1]);
    assert.ok(idsOf(answers).size > 1);
  });
});

describe("calls beyond what a replica takes", { concurrency: 4 }, () => {
  test("wait, and more replicas come", async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 1, maxReplicas: 4 });
    const answers = await invokeMany(name, 8, { ms: 400 });
    assert.deepEqual([...new Set(answers.map(({ json }) => json.body.most))], [1]);
    const { size } = idsOf(answers);
    assert.ok(size >= 2 && size <= 4, String(size));
  });

  test("never bring more replicas than maxReplicas, whatever comes at once", async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 2, maxReplicas: 2 });
    const watch = { most: 0, isOver: false };
    const watching = (async () => {
      while (!watch.isOver) watch.most = Math.max(watch.most, (await scaling(name)).replicas, await replicas(name));
    })();
    const answers: Answer[] = [];
    for (let wave = 0; wave < 5; wave++) answers.push(...(await invokeMany(name, 20, { ms: 20 })));
    watch.isOver = true;
    await watching;
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.ok(watch.most <= 2, `${watch.most} replicas`);
    assert.ok(idsOf(answers).size <= 2);
    assert.ok(Math.max(...answers.map(({ json }) => json.body.most as number)) <= 2);
  });

  test("are refused with 429 OVERLOADED once too many wait, with the limit and when to retry", async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 1, maxReplicas: 1 });
    const running = platform.invoke(name, { ms: platform.isOwn ? 1500 : 8000 });
    await waitFor("the call to run", async () => (await scaling(name)).inFlight === 1);
    const waiting = invokeMany(name, MAX_QUEUED + 10, {});
    const answers = [...(await waiting), await running];
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length > 0 && refused.length <= 10, String(refused.length));
    for (const { status, json, headers } of refused) {
      assert.deepEqual([status, json.code], [429, "OVERLOADED"]);
      assert.match(json.error, new RegExp(String(MAX_QUEUED)));
      assert.match(String(headers["retry-after"]), /^\d+$/);
    }
    assert.equal((await platform.invoke(name, {})).status, 200, "it recovers by itself");
  });

  test("leave no 429 behind, also after it was deleted and made again", async () => {
    const wish = { code: COUNTING, concurrency: 1, maxReplicas: 1 };
    const name = await platform.deploy(wish);
    const running = platform.invoke(name, { ms: platform.isOwn ? 1500 : 8000 });
    await waitFor("the call to run", async () => (await scaling(name)).inFlight === 1);
    const answers = await invokeMany(name, MAX_QUEUED + 10, {});
    assert.ok(answers.some(({ status }) => status === 429));
    await running;
    assert.equal((await platform.control("DELETE", `/functions/${name}`)).status, 204);
    await platform.deploy({ ...wish, name });
    for (const { status } of await invokeMany(name, 5, {})) assert.equal(status, 200);
  });

  test("are refused as well once their bodies are too large together", async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 1, maxReplicas: 1 });
    const running = platform.invoke(name, { ms: 1500 });
    await waitFor("the call to run", async () => (await scaling(name)).inFlight === 1);
    const answers = await invokeMany(name, platform.isOwn ? 4 : 16, { padding: "x".repeat(5 << 20) });
    assert.ok(answers.some(({ status, json }) => status === 429 && json.code === "OVERLOADED"));
    assert.ok(answers.some(({ status }) => status === 200));
    assert.equal((await running).status, 200);
  });

  test("are refused with 503 NO_CAPACITY when no place came free in time", { skip: needsOwn }, async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 1, maxReplicas: 1 });
    const running = platform.invoke(name, { ms: 6500 });
    await waitFor("the call to run", async () => (await scaling(name)).inFlight === 1);
    const startMs = performance.now();
    const answer = await platform.invoke(name, {});
    const waitedMs = performance.now() - startMs;
    assert.deepEqual([answer.status, answer.json.code], [503, "NO_CAPACITY"]);
    assert.match(answer.json.error, /5 s/);
    assert.match(String(answer.headers["retry-after"]), /^\d+$/);
    assert.ok(waitedMs > 4900 && waitedMs < 6400, String(waitedMs));
    assert.equal((await running).status, 200);
  });
});

describe("minReplicas", { concurrency: 4 }, () => {
  test("are ready without a call, and the first call is not cold", async () => {
    const name = await platform.deploy({ code: COUNTING, minReplicas: 2 });
    await waitFor("two ready replicas", async () => (await platform.get(`/functions/${name}`)).json.status.readyReplicas === 2);
    assert.equal((await platform.invoke(name)).headers["x-cold-start"], "false");
  });

  test("apply in place, up and down", async () => {
    const name = await platform.deploy({ code: COUNTING });
    await platform.put(name, { code: COUNTING, minReplicas: 1 });
    await waitFor("one ready replica", async () => (await platform.get(`/functions/${name}`)).json.status.readyReplicas === 1);
    if (!platform.isOwn) return;
    await platform.put(name, { code: COUNTING });
    await waitFor("no replica", async () => (await replicas(name)) === 0, 20_000);
  });

  test("are kept when one of them ends", async () => {
    const code = "const id = Math.random(); exports.handler = ({ body }) => (body.end ? process.exit(1) : id);";
    const name = await platform.deploy({ code, minReplicas: 1, maxReplicas: 1 });
    const { body: first } = (await platform.invoke(name, {})).json;
    await platform.invoke(name, { end: true });
    await waitFor("another replica", async () => (await platform.get(`/functions/${name}`)).json.status.readyReplicas === 1);
    const next = await platform.invoke(name, {});
    assert.equal(next.status, 200);
    assert.notEqual(next.json.body, first);
  });
});

describe("an idle function", { concurrency: 4 }, () => {
  test("goes to zero after its last call has ended, and comes back", { skip: needsOwn }, async () => {
    const name = await platform.deploy({ code: COUNTING });
    await platform.invoke(name, {});
    const endedMs = performance.now();
    assert.equal(await replicas(name), 1);
    await waitFor("zero replicas", async () => (await replicas(name)) === 0, 20_000);
    assert.ok(performance.now() - endedMs >= IDLE_MS - 100);
    const answer = await platform.invoke(name, {});
    assert.deepEqual([answer.status, answer.headers["x-cold-start"]], [200, "true"]);
    const { decisions } = await scaling(name);
    assert.ok(
      decisions.some(({ from, to, reason }) => from === 1 && to === 0 && reason === "idle"),
      JSON.stringify(decisions),
    );
  });

  test("is none while a call runs, however long", { skip: needsOwn }, async () => {
    const name = await platform.deploy({ code: COUNTING });
    const answer = await platform.invoke(name, { ms: 2.5 * IDLE_MS });
    assert.equal(answer.status, 200);
    assert.equal(await replicas(name), 1);
  });

  test("loses no call that comes while it goes to zero", { skip: needsOwn }, async () => {
    const name = await platform.deploy({ code: COUNTING });
    for (let i = 0; i < 12; i++) {
      const answer = await platform.invoke(name, {});
      assert.equal(answer.status, 200);
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS - 150 + 25 * i));
      if (i === 5) await waitFor("it to be near zero", async () => (await replicas(name)) <= 1);
    }
  });
});

describe("GET /functions/{name}/scaling", () => {
  test("explains the last decisions", async () => {
    const name = await platform.deploy({ code: COUNTING, concurrency: 1, maxReplicas: 3 });
    const before = await scaling(name);
    assert.deepEqual([before.replicas, before.desired, before.min, before.max, before.inFlight, before.queued], [0, 0, 0, 3, 0, 0]);
    await invokeMany(name, 6, { ms: 200 });
    const { decisions } = await scaling(name);
    assert.ok(decisions.length > 0);
    for (const { time, from, to, reason } of decisions) {
      assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
      assert.ok(Number.isInteger(from) && Number.isInteger(to) && to <= 3);
      assert.match(reason, /^[a-z-]+$/);
    }
    assert.deepEqual([decisions[0]?.from, decisions.at(-1)?.to], [0, (await scaling(name)).replicas]);
  });
});
