import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { after, before, describe, type TestContext, test } from "node:test";
import { disposeRabbitMq, type RabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { createDataFolder, startServer, type TestServer, waitFor } from "../../support/server.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { Client } from "./support/client.ts";
import { REACHES_SINK, Sink, TELL } from "./support/sink.ts";

/** The broker may be away for some seconds, and the link waits up to 5 s between attempts. */
const RECOVERY_LIMIT_MS = 40_000;
const missing = rabbitMqMissing();

/** What functions tell. */
interface Told {
  kind: "began" | "done" | "buried";
  number: number;
  messageId: string;
  attempt: number;
  redelivered: boolean;
}

/** Tells when it begins and when it is done, after so many milliseconds; fails where the message wants it. */
const WORKER = `${TELL} exports.handler = async ({ body: { number, ms = 0, isPoison }, trigger: { messageId, attempt, redelivered } }) => {
  const told = { number, messageId, attempt, redelivered };
  await tell({ kind: "began", ...told });
  await new Promise((resolve) => setTimeout(resolve, ms));
  if (isPoison) throw new Error("poison");
  await tell({ kind: "done", ...told });
};`;
const UNDERTAKER = `${TELL} exports.handler = ({ body: { number }, trigger: { messageId, attempt, redelivered } }) =>
  tell({ kind: "buried", number, messageId, attempt, redelivered });`;

describe("a server with RabbitMQ", { skip: missing ?? false }, () => {
  let broker: RabbitMq;
  let sink: Sink<Told>;
  before(async () => {
    [broker, sink] = await Promise.all([sharedRabbitMq(), Sink.open<Told>()]);
  });
  after(async () => {
    sink.close();
    await disposeRabbitMq();
  });

  /** A data folder, a queue of the test's own, and servers one after the other that reach the broker through a proxy. */
  async function open(t: TestContext) {
    const proxy = await TcpProxy.start(broker.port);
    const dataFolder = createDataFolder();
    const servers: TestServer[] = [];
    t.after(async () => {
      for (const { child } of servers) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await Promise.all(servers.map(({ exited }) => exited));
      await proxy.stop();
      rmSync(dataFolder, { recursive: true, force: true });
    });
    const environment = { KS_AMQP_URL: broker.url.replace(String(broker.port), String(proxy.port)) };
    const start = async () => {
      const server = await startServer({ dataFolder, flags: [...REACHES_SINK, "--pool-size", "0", "--pool", "nodejs18=1"], environment });
      servers.push(server);
      return { server, client: new Client(server) };
    };
    return { proxy, start, queue: `server-${randomUUID().slice(0, 8)}` };
  }

  function deployWorker(client: Client, queue: string, config: object = {}): Promise<void> {
    const triggers = [{ type: "queue", config: { queue, exchange: "server-tests", ...config } }];
    return client.deploy({ name: "worker", code: WORKER, environment: { SINK: sink.url }, triggers });
  }

  /** Until the broker takes it. */
  async function publish(client: Client, queue: string, message: object): Promise<string> {
    return waitFor(
      "a message to be accepted",
      async () => {
        const { status, json } = await client.publish(queue, message);
        if (status === 202) return json.messageId as string;
        assert.deepEqual([status, json.code], [503, "STORE_UNAVAILABLE"]);
        return undefined;
      },
      RECOVERY_LIMIT_MS,
    );
  }

  function told(messageId: string, kind: Told["kind"]): Told[] {
    return sink.events.filter((event) => event.messageId === messageId && event.kind === kind);
  }

  test("starts while the broker is away, says so, refuses messages soon, and takes them once it is there", async (t) => {
    const { proxy, start, queue } = await open(t);
    proxy.refuse();
    const { server, client } = await start();
    assert.equal((await client.get("/ready")).status, 200);
    assert.ok((await client.degraded()).includes("broker"));
    await deployWorker(client, queue);
    assert.equal((await client.invoke("worker", { number: 0 })).status, 200);
    const sinceMs = performance.now();
    const refused = await client.publish(queue, { number: 1 });
    assert.deepEqual([refused.status, refused.json.code], [503, "STORE_UNAVAILABLE"]);
    assert.match(refused.json.error, /RabbitMQ is away/);
    assert.ok(performance.now() - sinceMs < 5_000);
    proxy.heal();
    await waitFor("the broker to be back", async () => !(await client.degraded()).includes("broker"), RECOVERY_LIMIT_MS);
    const messageId = await publish(client, queue, { number: 2 });
    await waitFor("the message to be done", () => told(messageId, "done").length === 1);
    assert.deepEqual(told(messageId, "began"), [{ kind: "began", number: 2, messageId, attempt: 1, redelivered: false }]);
    assert.equal((await server.stop()).code, 0);
  });

  test("a broker that restarts in mid-call loses nothing, and what is done is not done again", async (t) => {
    const { start, queue } = await open(t);
    const { server, client } = await start();
    await deployWorker(client, queue);
    const messageId = await publish(client, queue, { number: 1, ms: 3_000 });
    await waitFor("the call to begin", () => told(messageId, "began").length === 1);
    await broker.shutDown();
    await waitFor("the broker to be missed", async () => (await client.degraded()).includes("broker"));
    assert.equal((await client.publish(queue, { number: 2 })).status, 503);
    await broker.start();
    const last = await publish(client, queue, { number: 3 });
    await waitFor("what came after to be done", () => told(last, "done").length === 1, RECOVERY_LIMIT_MS);
    await waitFor(
      "the queue to be empty",
      async () => {
        const { status, json } = await client.get(`/queues/${queue}`);
        return status === 200 && json.ready + json.unacked + json.dead === 0;
      },
      RECOVERY_LIMIT_MS,
    );
    assert.equal(told(messageId, "done").length, 1);
    assert.equal((await server.stop()).code, 0);
  });

  test("killed with messages in flight: accepted = done + dead, each under one id and within its attempts", async (t) => {
    const { proxy, start, queue } = await open(t);
    const maxAttempts = 3;
    let { server, client } = await start();
    await deployWorker(client, queue, { concurrency: 5, maxAttempts });
    const ids = new Map<number, string>();
    const publishMany = async (count: number): Promise<void> => {
      for (let number = ids.size, end = number + count; number < end; number++) {
        ids.set(number, await publish(client, queue, { number, ms: 50, isPoison: number % 10 === 0 }));
      }
    };
    await publishMany(20);
    await waitFor("calls to be in flight", async () => (await client.queue(queue)).unacked > 0);
    await server.kill();
    ({ server, client } = await start());
    await publishMany(20);
    proxy.reset();
    await publishMany(10);
    await server.kill();
    ({ server, client } = await start());
    const triggers = [{ type: "queue", config: { queue: `${queue}.dead` } }];
    await client.deploy({ name: "undertaker", code: UNDERTAKER, environment: { SINK: sink.url }, triggers });
    const isSettled = (messageId: string): boolean => told(messageId, "done").length + told(messageId, "buried").length > 0;
    await waitFor("all to be done or dead", () => [...ids.values()].every(isSettled), RECOVERY_LIMIT_MS);
    await waitFor("the queue to be empty", async () => {
      const { ready, unacked } = await client.queue(queue);
      return ready + unacked === 0;
    });
    for (const [number, messageId] of ids) {
      for (const event of told(messageId, "began")) {
        assert.equal(event.number, number);
        assert.ok(event.attempt <= maxAttempts, JSON.stringify(event));
      }
      if (number % 10 === 0) assert.equal(told(messageId, "done").length, 0);
    }
    assert.equal((await server.stop()).code, 0);
  });
});
