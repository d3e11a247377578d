import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { QueueLocation } from "./harness.ts";

export interface ConsumerBehaviour {
  concurrency: number;
  maxAttempts: number;
  /** `hang`: each call stays within. `ack`: each succeeds at once. */
  behaviour: "hang" | "ack";
}

export interface ConsumerProcess {
  readonly received: { messageId: string; attempt: number }[];
  kill(): Promise<void>;
}

/** A server's queue part in a process of its own, which can be killed. */
export async function startConsumerProcess(location: QueueLocation, queue: string, behaviour: ConsumerBehaviour): Promise<ConsumerProcess> {
  const script = fileURLToPath(new URL("./consumer-main.ts", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify({ location, queue, ...behaviour })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const received: { messageId: string; attempt: number }[] = [];
  createInterface(child.stdout).on("line", (line) => received.push(JSON.parse(line) as { messageId: string; attempt: number }));
  await once(child, "spawn");
  return {
    received,
    async kill() {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    },
  };
}
