import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readVolume } from "../../support/fault-volume.ts";
import { Books } from "./books.ts";
import { openQueues } from "./open-queues.ts";
import { ACK, subscriptionOf, until } from "./queue-support.ts";

const FAILPOINTS = ["store.in-transaction", "store.before-commit", "store.after-commit"];
/** Lives on one folder, each ended at another pass of the failpoint. */
const LIVES = readVolume("KS_QUEUE_KILLS", { brief: 6, full: 20 });
const MAX_ATTEMPTS = 5;
const QUEUE = "killed";

/** Runs a server that publishes and consumes until its failpoint kills it. */
async function runUntilKilled(folder: string, failpoint: string, run: number, books: Books): Promise<void> {
  const script = fileURLToPath(new URL("./kill-main.ts", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ folder, failpoint, queue: QUEUE, maxAttempts: MAX_ATTEMPTS, run })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface(child.stdout);
  lines.on("line", (line) => {
    const [word, id = "", attempt] = line.split(" ");
    if (word === "publishes") books.published.add(id);
    if (word === "accepted") books.accepted.add(id);
    if (word === "dead") books.dead.add(id);
    if (word !== "handled") return;
    books.done.add(id);
    books.deliver(Number(attempt));
  });
  const [[, signal]] = await Promise.all([once(child, "exit"), once(lines, "close")]);
  assert.equal(signal, "SIGKILL", "the failpoint was not passed");
}

/** A server that is not killed: works off all that is left. */
async function workOff(folder: string, books: Books): Promise<void> {
  const driver = await openQueues({ kind: "embedded", folder });
  driver.consume(
    subscriptionOf(
      QUEUE,
      async ({ messageId, attempt }) => {
        books.done.add(messageId);
        books.deliver(attempt);
        return ACK;
      },
      { maxAttempts: MAX_ATTEMPTS },
    ),
  );
  driver.consume(subscriptionOf(`${QUEUE}.dead`, async ({ messageId }) => (books.dead.add(messageId), ACK), { maxAttempts: 100 }));
  await until("nothing is left", async () => {
    const [stats, graves] = await Promise.all([driver.stats(QUEUE), driver.stats(`${QUEUE}.dead`)]);
    return stats?.ready === 0 && stats.unacked === 0 && (graves?.ready ?? 0) + (graves?.unacked ?? 0) === 0;
  });
  await driver.stop({ deadlineMs: 1_000 });
}

for (const name of FAILPOINTS) {
  test(`nothing accepted is lost by kills at ${name}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "ks-queue-kill-"));
    const books = new Books();
    for (let run = 0; run < LIVES; run++) await runUntilKilled(folder, `${name}:${27 + ((run * 29) % 90)}`, run, books);
    await workOff(folder, books);
    books.check({ maxAttempts: MAX_ATTEMPTS, leastAccepted: 20 });
    await rm(folder, { recursive: true });
  });
}
