import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openQueues } from "./open-queues.ts";
import type { QueueLocation } from "./harness.ts";
import { testQueueDriver } from "./queue-suite.ts";

testQueueDriver(
  "embedded",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "ks-queue-"));
    const location: QueueLocation = { kind: "embedded", folder };
    return { location, open: () => openQueues(location), dispose: () => rm(folder, { recursive: true, force: true }) };
  },
  undefined,
);
