import { setTimeout as pause } from "node:timers/promises";
import assert from "node:assert/strict";
import { KsError } from "@kube-serverless/contracts";
import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import { Books } from "./books.ts";
import { ACK, fail, subscriptionOf, textMessage, uniqueQueue, until } from "./queue-support.ts";

const MAX_ATTEMPTS = 4;

export interface WorkloadLimits {
  /** For the driver to be connected, and the queues to be empty, once the faults have ended. */
  recoveryMs: number;
  /** No publish may take longer, whatever the broker does. */
  publishMs: number;
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof KsError && error.code === "STORE_UNAVAILABLE";
}

/** Publishes and consumes all the time, and keeps the books. */
export class Workload {
  readonly books = new Books();
  lastRefusal = "none";
  /** Errors of publishing that say neither "stored" nor "try again". */
  readonly unexpected: unknown[] = [];
  readonly #queue = uniqueQueue("faults");
  readonly #driver: QueueDriver;
  readonly #limits: WorkloadLimits;
  #longestPublishMs = 0;
  #running = true;
  #publishing: Promise<void> | undefined;

  constructor(driver: QueueDriver, limits: WorkloadLimits) {
    this.#driver = driver;
    this.#limits = limits;
  }

  async start(): Promise<void> {
    await this.#driver.declare({ queue: this.#queue });
    let sequence = 0;
    this.#driver.consume(
      subscriptionOf(
        this.#queue,
        async ({ messageId, attempt, headers }) => {
          this.books.deliver(attempt);
          await pause(2);
          if (headers["kind"] === "poison" || (headers["kind"] === "flaky" && attempt === 1)) return fail(headers["kind"]);
          this.books.done.add(messageId);
          return ACK;
        },
        { maxAttempts: MAX_ATTEMPTS },
      ),
    );
    this.#driver.consume(subscriptionOf(`${this.#queue}.dead`, async ({ messageId }) => (this.books.dead.add(messageId), ACK)));
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
    const plain = textMessage(kind, { kind });
    // The kind in the id tells by which way a message was lost.
    const message = { ...plain, messageId: `${kind}-${plain.messageId}` };
    this.books.published.add(message.messageId);
    const began = performance.now();
    try {
      await this.#driver.publish(this.#queue, message);
      this.books.accepted.add(message.messageId);
    } catch (error) {
      if (!isUnavailable(error)) this.unexpected.push(error);
      this.lastRefusal = String(error);
    }
    this.#longestPublishMs = Math.max(this.#longestPublishMs, performance.now() - began);
  }

  async stopPublishing(): Promise<void> {
    this.#running = false;
    await this.#publishing;
  }

  /** Ends the publishing, waits until the queues are empty, and checks that the books balance. */
  async finish(): Promise<void> {
    await this.stopPublishing();
    assert.deepEqual(this.unexpected, []);
    await until("connected again", () => this.#driver.connected, this.#limits.recoveryMs);
    // A queue that has just recovered counts nothing for a moment, so an empty one alone says little.
    const isOver = async (): Promise<boolean> => this.books.open().length === 0 && (await this.#countLeft()) === 0;
    await until("everything done or dead, and nothing waits", isOver, this.#limits.recoveryMs).catch(() => undefined);
    if (this.books.open().length > 0) throw new Error(`accepted, and neither done nor dead: ${await this.#describeOpen()}`);
    this.books.check({ maxAttempts: MAX_ATTEMPTS, leastAccepted: 50 });
    assert.equal(await this.#countLeft(), 0, "still wait in the queues");
    assert.ok(this.#longestPublishMs < this.#limits.publishMs, `a publish took ${this.#longestPublishMs} ms`);
  }

  async #describeOpen(): Promise<string> {
    const [stats, graves] = await Promise.all([this.#driver.stats(this.#queue), this.#driver.stats(`${this.#queue}.dead`)]);
    return `${this.books.open().join(", ")}; the queue has ${JSON.stringify(stats)}, its dead letters ${JSON.stringify(graves)}`;
  }

  async #countLeft(): Promise<number> {
    const [stats, graves] = await Promise.all([this.#driver.stats(this.#queue), this.#driver.stats(`${this.#queue}.dead`)]);
    return (stats?.ready ?? 1) + (stats?.unacked ?? 1) + (graves?.ready ?? 0) + (graves?.unacked ?? 0);
  }
}
