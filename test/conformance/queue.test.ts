import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import type { Answer } from "./support/client.ts";
import { openPlatform, uniqueName } from "./support/platform.ts";
import { RUNTIMES } from "./support/vectors.ts";

const platform = await openPlatform();

/** Keeps the events that came of messages, and shows them when invoked. */
const RECORDING = `const seen = []; exports.handler = async (event) => {
  if (event.path === '/invoke') return seen;
  const { rawBody, ...rest } = event;
  seen.push({ ...rest, raw: rawBody.toString('base64'), atMs: Date.now() });
  await new Promise((resolve) => setTimeout(resolve, event.body?.ms ?? 0));
  if (event.body?.failures >= event.trigger.attempt) throw new Error('not yet');
  if (event.body?.exits && event.trigger.attempt === 1) process.exit(1);
  return event.body?.answer;
};`;

interface Seen {
  body: unknown;
  raw: string;
  isBase64Encoded: boolean;
  method: string;
  path: string;
  headers: Record<string, string>;
  trigger: { type: string; queue: string; exchange: string; messageId: string; attempt: number; redelivered: boolean };
  atMs: number;
}

interface Stats {
  ready: number;
  unacked: number;
  dead: number;
}

function deployConsumer(queue: string, config: object = {}, spec: object = {}): Promise<string> {
  return platform.deploy({ code: RECORDING, maxReplicas: 1, ...spec, triggers: [{ type: "queue", config: { queue, ...config } }] });
}

function publish(queue: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return platform.control("POST", `/queues/${queue}/messages`, body, headers);
}

async function publishDurably(queue: string, body: unknown, headers: Record<string, string> = {}): Promise<string> {
  const answer = await waitFor("the queue to be there", async () => {
    const published = await publish(queue, body, headers);
    return published.status === 404 ? undefined : published;
  });
  assert.equal(answer.status, 202, answer.text);
  return answer.json.messageId as string;
}

async function stats(queue: string): Promise<Stats> {
  const { ready, unacked, dead } = (await platform.get(`/queues/${queue}`)).json;
  return { ready, unacked, dead };
}

/** Nothing where the replica that would say it has just ended. */
async function seenBy(name: string): Promise<Seen[]> {
  return ((await platform.invoke(name)).json.body ?? []) as Seen[];
}

function waitForSeen(name: string, count: number, limitMs = 15_000): Promise<Seen[]> {
  return waitFor(
    `${count} messages at ${name}`,
    async () => {
      const seen = await seenBy(name);
      return seen.length >= count ? seen : undefined;
    },
    limitMs,
  );
}

function waitForStats(queue: string, wanted: Stats, limitMs = 15_000): Promise<true> {
  return waitFor(
    `${queue} to be ${JSON.stringify(wanted)}`,
    async () => JSON.stringify(await stats(queue)) === JSON.stringify(wanted),
    limitMs,
  );
}

const EMPTY: Stats = { ready: 0, unacked: 0, dead: 0 };

describe("a message", { concurrency: 6 }, () => {
  test("calls the function of its queue with the documented event, and is gone then", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue, { exchange: `${queue}-exchange` });
    const messageId = await publishDurably(queue, { key: "value", data: [1, 2, 3] }, { "x-mine": "1" });
    const [seen] = await waitForSeen(name, 1);
    assert.deepEqual([seen?.method, seen?.path, seen?.body], ["POST", "/queue", { key: "value", data: [1, 2, 3] }]);
    const trigger = { type: "queue", queue, exchange: `${queue}-exchange`, messageId, attempt: 1, redelivered: false };
    assert.deepEqual(seen?.trigger, trigger);
    assert.deepEqual([seen?.headers["content-type"], seen?.headers["x-mine"]], ["application/json", "1"]);
    assert.match(messageId, /^[\w.-]{8,}$/);
    await waitForStats(queue, EMPTY);
  });

  test("may be of any type, and is parsed as a body would be", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue, { concurrency: 1 });
    await publishDurably(queue, "plain text", { "content-type": "text/plain" });
    await publishDurably(queue, Buffer.from([0, 255, 1]), { "content-type": "application/octet-stream" });
    await publishDurably(queue, '{"of":"no type"}');
    await publishDurably(queue, "");
    await publishDurably(queue, "a=1&b=2", { "content-type": "application/x-www-form-urlencoded" });
    const seen = await waitForSeen(name, 5);
    assert.deepEqual(
      seen.map(({ body, isBase64Encoded }) => [body, isBase64Encoded]),
      [
        ["plain text", false],
        ["AP8B", true],
        [{ of: "no type" }, false],
        [null, false],
        ["a=1&b=2", false],
      ],
    );
  });

  for (const runtime of RUNTIMES) {
    test(`reaches a function in ${runtime}`, async () => {
      const codes = {
        nodejs18: "exports.handler = ({ body, trigger }) => console.log('got', body.n, trigger.attempt);",
        python39: "def handler(event):\n    print('got', event['body']['n'], event['trigger']['attempt'])\n",
        go119:
          'package f\n\nimport "fmt"\n\nfunc Handler(e map[string]any) (any, error) {\n\tfmt.Println("got", e["body"].(map[string]any)["n"], e["trigger"].(map[string]any)["attempt"])\n\treturn nil, nil\n}\n',
      };
      const queue = uniqueName("q");
      const name = await platform.deploy({ runtime, code: codes[runtime], triggers: [{ type: "queue", config: { queue } }] });
      await publishDurably(queue, { n: 7 });
      await waitFor("its line", async () => /got 7 1/.test((await platform.get(`/functions/${name}/logs`)).text));
      await waitForStats(queue, EMPTY);
    });
  }

  test("whose function throws is tried again after 1 s, then 2 s, the same message each time", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue);
    const messageId = await publishDurably(queue, { failures: 2 });
    const seen = await waitForSeen(name, 3);
    assert.deepEqual(
      seen.map(({ trigger }) => [trigger.messageId, trigger.attempt]),
      [
        [messageId, 1],
        [messageId, 2],
        [messageId, 3],
      ],
    );
    const [first = 0, second = 0, third = 0] = seen.map(({ atMs }) => atMs);
    assert.ok(second - first >= 950 && second - first < 4000, String(second - first));
    assert.ok(third - second >= 1950 && third - second < 6000, String(third - second));
    await waitForStats(queue, EMPTY);
  });

  test("whose function crashes or runs out of time is tried again", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue);
    await publishDurably(queue, { exits: true });
    await waitFor("the second attempt", async () => (await seenBy(name))[0]?.trigger.attempt === 2);
    await waitForStats(queue, EMPTY);
  });

  test("that fails at every attempt goes to the dead letters, where a function may take it with what is said there", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue, { maxAttempts: 2 });
    await publishDurably(queue, { failures: 99 }, { "x-mine": "kept" });
    await waitForSeen(name, 2);
    await waitForStats(queue, { ready: 0, unacked: 0, dead: 1 });
    assert.equal((await seenBy(name)).length, 2);
    const reader = await deployConsumer(`${queue}.dead`);
    const [letter] = await waitForSeen(reader, 1);
    assert.deepEqual([letter?.body, letter?.headers["x-mine"]], [{ failures: 99 }, "kept"]);
    assert.match(JSON.stringify(letter?.headers), /not yet/);
  });

  test("is acknowledged whatever status its function returns", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue);
    await publishDurably(queue, { answer: { statusCode: 500, body: "no" } });
    await waitForSeen(name, 1);
    await waitForStats(queue, EMPTY);
    assert.equal((await seenBy(name)).length, 1);
  });

  test("that is poison holds up none behind it", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue, { concurrency: 1 });
    await publishDurably(queue, "{broken", { "content-type": "application/json" });
    await publishDurably(queue, { fine: true });
    const seen = await waitForSeen(name, 1);
    assert.deepEqual(seen[0]?.body, { fine: true });
  });

  test("of 6 MiB passes, of a byte more is 413", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue);
    await publishDurably(queue, Buffer.alloc(6 << 20, "a"), { "content-type": "text/plain" });
    await waitFor("it to be counted", async () => (await platform.get(`/functions/${name}/metrics`)).json.invocations >= 1, 15_000);
    const answer = await publish(queue, Buffer.alloc((6 << 20) + 1, "a"), { "content-type": "text/plain" });
    assert.deepEqual([answer.status, answer.json.code], [413, "BODY_TOO_LARGE"]);
  });
});

describe("a queue", { concurrency: 6 }, () => {
  test("that nobody knows is 404 to publish to and to look at", async () => {
    for (const answer of [
      await publish(uniqueName("q"), {}),
      await platform.get(`/queues/${uniqueName("q")}`),
      await publish("a%0Ab", {}),
    ]) {
      assert.deepEqual([answer.status, answer.json.code], [404, "QUEUE_NOT_FOUND"]);
    }
  });

  test("loses no message and repeats none, a hundred at a time", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue, { concurrency: 20 });
    await publishDurably(queue, { n: 0 });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => publish(queue, { n: i + 1 })));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
    const seen = await waitForSeen(name, 101);
    const numbers = seen.map(({ body }) => (body as { n: number }).n).sort((a, b) => a - b);
    assert.deepEqual(
      numbers,
      Array.from({ length: 101 }, (_, i) => i),
    );
    await waitForStats(queue, EMPTY);
  });

  test("gives no more messages at once than the trigger's concurrency, and shows them as unacked", async () => {
    const queue = uniqueName("q");
    const code = `let now = 0, most = 0; exports.handler = async (event) => {
      if (event.path === '/invoke') return most;
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 300));
      now--;
    };`;
    const name = await deployConsumer(queue, { concurrency: 2 }, { code });
    for (let i = 0; i < 6; i++) await publishDurably(queue, {});
    await waitFor("two in flight", async () => (await stats(queue)).unacked === 2);
    await waitForStats(queue, EMPTY);
    assert.equal((await platform.invoke(name)).json.body, 2);
  });

  test("stays with its messages when its function is deleted, and the next one gets them", async () => {
    const queue = uniqueName("q");
    const first = await deployConsumer(queue);
    await publishDurably(queue, { first: true });
    await waitForSeen(first, 1);
    await waitForStats(queue, EMPTY);
    await platform.delete(first);
    await publishDurably(queue, { kept: true });
    assert.equal((await stats(queue)).ready, 1);
    const second = await deployConsumer(queue);
    const [seen] = await waitForSeen(second, 1);
    assert.deepEqual(seen?.body, { kept: true });
  });

  test("holds its messages while its function deploys", async () => {
    const queue = uniqueName("q");
    const { name } = await platform.create({
      code: `const end = Date.now() + 500; while (Date.now() < end); ${RECORDING}`,
      maxReplicas: 1,
      triggers: [{ type: "queue", config: { queue } }],
    });
    await publishDurably(queue, { early: true });
    const [seen] = await waitForSeen(name, 1);
    assert.deepEqual([seen?.body, seen?.trigger.attempt], [{ early: true }, 1]);
  });

  test("takes a caller's identity for no header of a message", async () => {
    const queue = uniqueName("q");
    const name = await deployConsumer(queue);
    await publishDurably(queue, {}, { authorization: platform.client.authorization["authorization"] ?? "Bearer none", cookie: "a=1" });
    const [seen] = await waitForSeen(name, 1);
    assert.deepEqual([seen?.headers["authorization"], seen?.headers["cookie"]], [undefined, undefined]);
  });

  test("takes messages by POST alone", async () => {
    const queue = uniqueName("q");
    await deployConsumer(queue);
    const answer = await platform.get(`/queues/${queue}/messages`);
    assert.deepEqual([answer.status, answer.headers.allow], [405, "POST"]);
  });
});
