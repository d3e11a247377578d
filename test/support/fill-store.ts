import { parseFunctionSpec } from "@kube-serverless/contracts";
import { EMBEDDED_QUEUE_MODULE, openEmbeddedQueues } from "../../packages/server/src/queue/sqlite/driver.ts";
import { createSqliteStore, type SqliteStore } from "../../packages/server/src/store/sqlite/sqlite-store.ts";

const WRITES_AT_ONCE = 500;

/** Fills a data folder as deploys and publications leave it, without the replica that each deploy would check its code in. */
export async function fillStore(folder: string, counts: { functions?: number; messages?: number }): Promise<void> {
  const store = await createSqliteStore({
    folder,
    modules: [EMBEDDED_QUEUE_MODULE],
    onFatal: (error) => {
      throw error;
    },
  });
  await inBatches(counts.functions ?? 0, (index) => storeFunction(store, index));
  if (counts.messages !== undefined) await storeMessages(store, counts.messages);
  await store.stop();
}

async function inBatches(count: number, write: (index: number) => Promise<void>): Promise<void> {
  for (let from = 0; from < count; from += WRITES_AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(WRITES_AT_ONCE, count - from) }, (_, i) => write(from + i)));
  }
}

/** The function that the documentation creates. */
function storeFunction(store: SqliteStore, index: number): Promise<void> {
  const name = `registered-${index}`;
  const { code, ...spec } = parseFunctionSpec({
    name,
    runtime: "nodejs18",
    handler: "index.handler",
    code: `module.exports.handler = async (event) => { return { statusCode: 200, body: 'Hello ${index}!' }; };`,
    environment: { VAR1: "value1" },
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [{ type: "http", config: { path: `/${name}` } }],
  });
  const nowIso = new Date().toISOString();
  const stored = {
    uid: `bench${index}`,
    createdAt: nowIso,
    generation: 1,
    revision: 1,
    spec,
    status: { state: "running" as const, observedGeneration: 1, revision: 1, runtimeVersion: "18.20.8", lastDeployment: nowIso },
    served: { revision: 1, generation: 1, spec },
  };
  return store.putFunction(stored, code);
}

/** Orders of some 60 bytes in the queue `orders`. */
async function storeMessages({ client }: SqliteStore, count: number): Promise<void> {
  const queues = await openEmbeddedQueues({ client });
  await queues.declare({ queue: "orders" });
  await inBatches(count, (index) =>
    queues.publish("orders", {
      messageId: `message-${index}`,
      contentType: "application/json",
      headers: {},
      body: Buffer.from(`{"order": ${index}, "customer": "c-${index % 100}", "lines": [1, 2, 3]}`),
    }),
  );
  await queues.stop({ deadlineMs: 0 });
}
