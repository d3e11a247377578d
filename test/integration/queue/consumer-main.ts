import { openQueues } from "./open-queues.ts";
import type { ConsumerBehaviour } from "./consumer-process.ts";
import type { QueueLocation } from "./harness.ts";

const settings = JSON.parse(process.argv[2] ?? "{}") as ConsumerBehaviour & { location: QueueLocation; queue: string };
const { location, queue, concurrency, maxAttempts, behaviour } = settings;

const driver = await openQueues(location);
driver.consume({
  queue,
  concurrency,
  maxAttempts,
  handle({ messageId, attempt }) {
    process.stdout.write(`${JSON.stringify({ messageId, attempt })}\n`);
    return behaviour === "ack" ? Promise.resolve({ kind: "ack" }) : new Promise(() => {});
  },
});
