import { after, before, describe } from "node:test";
import { OpenQueues, type QueueHarness } from "./harness.ts";
import { testConsumers } from "./queue-consumers.ts";
import { testDelivery } from "./queue-delivery.ts";
import { testFailures } from "./queue-failures.ts";
import { testRestarts } from "./queue-restarts.ts";

/** What every queue driver has to do, whatever it is made of. */
export function testQueueDriver(name: string, createHarness: () => Promise<QueueHarness>, skip: string | undefined): void {
  describe(`queues: ${name}`, { skip: skip ?? false }, () => {
    const queues = new OpenQueues();
    before(async () => queues.start(await createHarness()));
    after(() => queues.dispose());

    testDelivery(queues);
    testFailures(queues);
    testConsumers(queues);
    testRestarts(queues);
  });
}
