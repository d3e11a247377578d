import type { QueueDriver } from "../../../packages/server/src/queue/port.ts";
import type { RetryPolicy } from "../../../packages/server/src/queue/retry.ts";
import { uniqueQueue, until } from "./queue-support.ts";

/** Short, so that a test need not wait for minutes. */
export const TEST_POLICY: RetryPolicy = { firstDelayMs: 100, maxDelayMs: 400 };

/** Where a driver keeps its queues; also for a process of its own. */
export type QueueLocation = { kind: "rabbitmq"; url: string } | { kind: "embedded"; folder: string };

export interface QueueHarness {
  location: QueueLocation;
  /** Opens the queues as a starting server does; on the same place after the one before was stopped. */
  open(): Promise<QueueDriver>;
  dispose(): Promise<void>;
}

/** The queues of one place, as a server has them that is stopped and started between tests. */
export class OpenQueues {
  #harness: QueueHarness | undefined;
  #driver: QueueDriver | undefined;

  async start(harness: QueueHarness): Promise<void> {
    this.#harness = harness;
    await this.open();
  }

  get driver(): QueueDriver {
    return required(this.#driver);
  }

  get location(): QueueLocation {
    return required(this.#harness).location;
  }

  async open(): Promise<void> {
    const driver = await required(this.#harness).open();
    this.#driver = driver;
    await until("connected", () => driver.connected);
  }

  async restart(deadlineMs: number): Promise<void> {
    await this.driver.stop({ deadlineMs });
    await this.open();
  }

  async declared(word: string): Promise<string> {
    const queue = uniqueQueue(word);
    await this.driver.declare({ queue });
    return queue;
  }

  async dispose(): Promise<void> {
    await this.#driver?.stop({ deadlineMs: 0 });
    await this.#harness?.dispose();
  }
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("The queues are not open");
  return value;
}
