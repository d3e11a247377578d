import { disposeRabbitMq, rabbitMqMissing, sharedRabbitMq } from "../../support/rabbitmq.ts";
import { openQueues } from "./open-queues.ts";
import type { QueueLocation } from "./harness.ts";
import { testQueueDriver } from "./queue-suite.ts";

testQueueDriver(
  "RabbitMQ",
  async () => {
    const broker = await sharedRabbitMq();
    const location: QueueLocation = { kind: "rabbitmq", url: broker.url };
    return { location, open: () => openQueues(location), dispose: disposeRabbitMq };
  },
  rabbitMqMissing(),
);
