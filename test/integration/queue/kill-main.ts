import { writeSync } from "node:fs";
import { openQueues } from "./open-queues.ts";

/** Publishes and consumes until a failpoint of the store kills the process; says what it knows to be so on standard output. */
const settings = JSON.parse(process.argv[2] ?? "{}") as {
  folder: string;
  failpoint: string;
  queue: string;
  maxAttempts: number;
  run: number;
};
const { folder, failpoint, queue, maxAttempts, run } = settings;

// Synchronously, so that nothing said is lost with the process.
function say(...words: (string | number)[]): void {
  writeSync(1, `${words.join(" ")}\n`);
}

const driver = await openQueues({ kind: "embedded", folder }, failpoint);
await driver.declare({ queue });
driver.consume({
  queue,
  maxAttempts,
  concurrency: 4,
  async handle({ messageId, attempt }) {
    if (messageId.endsWith("0")) return { kind: "fail", reason: "fails" };
    if (messageId.endsWith("5")) return { kind: "release" };
    say("handled", messageId, attempt);
    return { kind: "ack" };
  },
});
driver.consume({
  queue: `${queue}.dead`,
  maxAttempts: 100,
  concurrency: 1,
  async handle({ messageId }) {
    say("dead", messageId);
    return { kind: "ack" };
  },
});
for (let number = 1; ; number++) {
  const messageId = `run${run}-${number}`;
  say("publishes", messageId);
  await driver.publish(queue, { messageId, headers: {}, body: Buffer.from(messageId) });
  say("accepted", messageId);
}
