import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { KsError } from "@kube-serverless/contracts";
import { createAmqpQueues } from "../../../packages/server/src/queue/amqp/driver.ts";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { disposeRabbitMq, type RabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";
import { ACK, fail, Gate, subscriptionOf, textMessage, uniqueQueue, until } from "./queue-support.ts";
import { TEST_POLICY } from "./harness.ts";

const REPLY_LIMIT_MS = 2_000;
const MAX_ATTEMPTS = 4;
const RECOVERY_LIMIT_MS = 60_000;

function isUnavailable(error: unknown): boolean {
  return error instanceof KsError && error.code === "STORE_UNAVAILABLE";
}

/** Publishes and consumes all the time, and keeps the books. */
class Workload {
  readonly accepted = new Set<string>();
  readonly published = new Set<string>();
  readonly done = new Set<string>();
  readonly dead = new Set<string>();
  readonly queue = uniqueQueue("faults");
  highestAttempt = 0;
  longestPublishMs = 0;
  lastRefusal = "none";
  /** Errors of publishing that say neither "stored" nor "try again". */
  readonly unexpected: unknown[] = [];
  #running = true;
  #publishing: Promise<void> | undefined;
  readonly #driver: QueueDriver;

  constructor(driver: QueueDriver) {
    this.#driver = driver;
  }

  async start(): Promise<void> {
    await this.#driver.declare({ queue: this.queue });
    let sequence = 0;
    this.#driver.consume(
      subscriptionOf(
        this.queue,
        async ({ messageId, attempt, headers }) => {
          this.highestAttempt = Math.max(this.highestAttempt, attempt);
          await pause(2);
          if (headers["kind"] === "poison" || (headers["kind"] === "flaky" && attempt === 1)) return fail(headers["kind"]);
          this.done.add(messageId);
          return ACK;
        },
        { maxAttempts: MAX_ATTEMPTS },
      ),
    );
    this.#driver.consume(subscriptionOf(`${this.queue}.dead`, async ({ messageId }) => (this.dead.add(messageId), ACK)));
    const publish = async (): Promise<void> => {
      while (this.#running) {
        const number = sequence++;
        const kind = number % 10 === 3 ? "poison" : number % 5 === 1 ? "flaky" : "good";
        await this.#publish(kind);
        await pause(2);
      }
    };
    this.#publishing = Promise.all([publish(), publish(), publish()]).then(() => undefined);
  }

  async #publish(kind: string): Promise<void> {
    const message = textMessage(kind, { kind });
    this.published.add(message.messageId);
    const began = performance.now();
    try {
      await this.#driver.publish(this.queue, message);
      this.accepted.add(message.messageId);
    } catch (error) {
      if (!isUnavailable(error)) this.unexpected.push(error);
      this.lastRefusal = String(error);
    }
    this.longestPublishMs = Math.max(this.longestPublishMs, performance.now() - began);
  }

  #open(): string[] {
    return [...this.accepted].filter((id) => !this.done.has(id) && !this.dead.has(id));
  }

  async stopPublishing(): Promise<void> {
    this.#running = false;
    await this.#publishing;
  }

  /** Ends the publishing, waits until the queues are empty, and checks that the books balance. */
  async finish(): Promise<void> {
    await this.stopPublishing();
    assert.deepEqual(this.unexpected, []);
    await until("connected again", () => this.#driver.connected, RECOVERY_LIMIT_MS);
    await until(
      "everything done or dead",
      async () => {
        const [stats, graves] = await Promise.all([this.#driver.stats(this.queue), this.#driver.stats(`${this.queue}.dead`)]);
        const left = (stats?.ready ?? 1) + (stats?.unacked ?? 1) + (graves?.ready ?? 0) + (graves?.unacked ?? 0);
        return left === 0 && this.#open().length === 0;
      },
      RECOVERY_LIMIT_MS,
    ).catch(async (error: Error) => {
      const stats = JSON.stringify([await this.#driver.stats(this.queue), await this.#driver.stats(`${this.queue}.dead`)]);
      throw new Error(`${error.message}: accepted ${this.accepted.size}, not accounted for: ${this.#open().join(", ")}; ${stats}`);
    });
    const unknown = [...this.done, ...this.dead].filter((id) => !this.published.has(id));
    assert.deepEqual(unknown, [], "never published");
    assert.ok(this.highestAttempt <= MAX_ATTEMPTS, `attempt ${this.highestAttempt}`);
    assert.ok(this.accepted.size > 50, `only ${this.accepted.size} accepted: the workload did not run`);
    // A wait for the connection, and one for the confirm.
    assert.ok(this.longestPublishMs < 2_000 + REPLY_LIMIT_MS + 1_500, `a publish took ${this.longestPublishMs} ms`);
  }
}

describe("RabbitMQ over a broken network", { skip: rabbitMqMissing() ?? false }, () => {
  let broker: RabbitMq;
  let proxy: TcpProxy;
  let driver: QueueDriver;
  let workload: Workload | undefined;

  before(async () => {
    broker = await sharedRabbitMq();
  });
  after(disposeRabbitMq);
  beforeEach(async () => {
    proxy = await TcpProxy.start(broker.port);
    // A beat a second, so that a dead peer is noticed within the test.
    const url = `amqp://guest:guest@127.0.0.1:${proxy.port}?heartbeat=1`;
    driver = createAmqpQueues({ url, retryPolicy: TEST_POLICY, replyLimitMs: REPLY_LIMIT_MS });
    await until("connected", () => driver.connected);
  });
  afterEach(async () => {
    proxy.heal();
    await workload?.stopPublishing();
    workload = undefined;
    await driver.stop({ deadlineMs: 0 });
    await proxy.stop();
  });

  test("a publish fails soon while the broker is away, and works when it is back", async () => {
    const queue = uniqueQueue("away");
    await driver.declare({ queue });
    proxy.refuse();
    await until("noticed", () => !driver.connected);
    const began = performance.now();
    await assert.rejects(driver.publish(queue, textMessage("x")), isUnavailable);
    await assert.rejects(driver.stats(queue), isUnavailable);
    assert.ok(performance.now() - began < 6_000);
    proxy.heal();
    await until("connected again", () => driver.connected);
    await driver.publish(queue, textMessage("y"));
    await until("counted", async () => (await driver.stats(queue))?.ready === 1);
  });

  test("a publish over a half-open connection fails within its limit, and the connection is replaced", async () => {
    const queue = uniqueQueue("half-open");
    await driver.declare({ queue });
    proxy.swallow("up", "down");
    const began = performance.now();
    await assert.rejects(driver.publish(queue, textMessage("x")), isUnavailable);
    assert.ok(performance.now() - began < REPLY_LIMIT_MS + 1_000);
    await until("noticed by the missing beats", () => !driver.connected, 10_000);
    proxy.heal();
    await until("connected again", () => driver.connected);
    await driver.publish(queue, textMessage("y"));
  });

  test("a call that outlives its connection is neither repeated nor lost", async () => {
    const queue = uniqueQueue("outlives");
    await driver.declare({ queue });
    const gate = new Gate();
    driver.consume(subscriptionOf(queue, gate.handle));
    await driver.publish(queue, textMessage("long"));
    await until("in flight", () => gate.entered.length === 1);
    proxy.reset();
    await until("noticed", () => !driver.connected);
    await until("connected again", () => driver.connected);
    await until("delivered again, to the same call", async () => (await driver.stats(queue))?.unacked === 2);
    gate.open();
    await until("done", async () => {
      const stats = await driver.stats(queue);
      return stats?.ready === 0 && stats.unacked === 0;
    });
    assert.equal(gate.entered.length, 1);
    assert.equal(gate.entered[0]?.signal.aborted, false);
  });

  test("a lost ack does not run the call again", async () => {
    const queue = uniqueQueue("lost-ack");
    await driver.declare({ queue });
    const gate = new Gate();
    driver.consume(subscriptionOf(queue, gate.handle));
    await driver.publish(queue, textMessage("once"));
    await until("in flight", () => gate.entered.length === 1);
    proxy.swallow("up");
    gate.open();
    await until("acked, as far as we know", () => gate.entered.length === 1);
    await pause(50);
    proxy.heal();
    await until("done", async () => {
      const stats = await driver.stats(queue).catch(() => undefined);
      return driver.connected && stats?.ready === 0 && stats.unacked === 0;
    });
    assert.equal(gate.entered.length, 1);
  });

  const faults: { name: string; inflict: () => Promise<void> }[] = [
    {
      name: "resets",
      async inflict() {
        for (let round = 0; round < 6; round++) {
          await pause(400);
          proxy.reset();
        }
      },
    },
    {
      name: "a broker that cannot be reached for 2 s",
      async inflict() {
        proxy.refuse();
        await pause(2_000);
      },
    },
    {
      name: "a half-open connection",
      async inflict() {
        proxy.swallow("up", "down");
        await pause(5_000);
      },
    },
    {
      name: "lost confirms",
      async inflict() {
        for (let round = 0; round < 3; round++) {
          proxy.swallow("down");
          await pause(300);
          proxy.heal();
          await pause(700);
        }
      },
    },
    {
      name: "lost acks",
      async inflict() {
        for (let round = 0; round < 3; round++) {
          proxy.swallow("up");
          await pause(300);
          proxy.heal();
          await pause(700);
        }
      },
    },
    {
      name: "SIGKILL of the broker in mid-call",
      async inflict() {
        // RabbitMQ 3.10 syncs its list of quorum queues within a second: one declared just before a SIGKILL never gets a leader.
        await pause(2_500);
        await broker.kill();
        await broker.start();
      },
    },
    {
      name: "a restart of the broker",
      async inflict() {
        await broker.shutDown();
        await broker.start();
      },
    },
  ];
  for (const { name, inflict } of faults) {
    test(`accepted = done + dead after ${name}`, async () => {
      const load = new Workload(driver);
      workload = load;
      await load.start();
      await until("well under way", () => load.done.size > 50);
      await inflict();
      proxy.heal();
      await until("connected again", () => driver.connected, RECOVERY_LIMIT_MS);
      const acceptedBefore = load.accepted.size;
      const acceptsAgain = (): boolean => load.accepted.size > acceptedBefore + 20 || load.unexpected.length > 0;
      await until("accepting again", acceptsAgain, RECOVERY_LIMIT_MS).catch((error: Error) => {
        throw new Error(`${error.message}; the last publish: ${load.lastRefusal}`);
      });
      await load.finish();
    });
  }
});
