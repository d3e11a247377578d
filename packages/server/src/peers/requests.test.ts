import assert from "node:assert/strict";
import { after, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import { createSigningKey } from "../protocol/proof.ts";
import { TestCluster, waitUntil } from "./testing/test-gateway.ts";

const cluster = await TestCluster.start(await createSigningKey(), 2);
await cluster.agreed();
const [asking, asked] = cluster.gateways.map(({ peers }) => peers);
assert.ok(asking !== undefined && asked !== undefined);
const OTHER = "gateway-1";

after(() => cluster.stop());

test("a question has an answer, whatever its size", async () => {
  asked.handle("double", (params) => (params as string[]).flatMap((text) => [text, text]));
  const params = Array.from({ length: 20_000 }, (_, i) => `line ${i} with ünïcode 🎉`);
  const answer = (await asking.request(OTHER, "double", params)) as string[];
  assert.equal(answer.length, 40_000);
  assert.equal(answer[39_999], params[19_999]);
  asked.handle("void", () => undefined);
  assert.equal(await asking.request(OTHER, "void", {}), null);
});

test("who asks is known", async () => {
  asked.handle("from", (_params, { from }) => from);
  assert.equal(await asking.request(OTHER, "from", null), "gateway-0");
});

test("an error is told as it is, a defect without what belongs into the log", async () => {
  asked.handle("refuse", () => {
    throw new KsError("STORE_UNAVAILABLE", { message: "away", retryAfterMs: 5000, details: { what: "store" } });
  });
  await assert.rejects(asking.request(OTHER, "refuse", null), (error: KsError) => {
    assert.deepEqual(
      [error.code, error.message, error.retryAfterMs, error.details],
      ["STORE_UNAVAILABLE", "away", 5000, { what: "store" }],
    );
    return true;
  });
  asked.handle("break", () => {
    throw new TypeError("secret");
  });
  await assert.rejects(
    asking.request(OTHER, "break", null),
    (error: KsError) => error.code === "INTERNAL" && !error.message.includes("secret"),
  );
  await assert.rejects(asking.request(OTHER, "never heard of", null), { code: "ROUTE_NOT_FOUND" });
  await assert.rejects(asking.request("nobody", "double", []), { code: "NO_CAPACITY" });
});

test("a stream gives items as they come, until its end", async () => {
  const gate = Promise.withResolvers<void>();
  asked.handleStream("count", async (params, _context, send) => {
    for (let i = 0; i < (params as number); i++) send(i);
    await gate.promise;
    send("last");
  });
  const items: unknown[] = [];
  const ended = asking.stream(OTHER, "count", 3, (item) => items.push(item));
  await waitUntil(() => items.length === 3);
  gate.resolve();
  await ended;
  assert.deepEqual(items, [0, 1, 2, "last"]);
});

test("whoever does not want the answer any more ends the work for it", async () => {
  let aborted = false;
  asked.handleStream("endless", async (_params, { signal }, send) => {
    send("first");
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    aborted = true;
  });
  const aborter = new AbortController();
  const items: unknown[] = [];
  const ended = asking.stream(OTHER, "endless", null, (item) => items.push(item), { signal: aborter.signal });
  await waitUntil(() => items.length === 1);
  aborter.abort(new Error("enough"));
  await assert.rejects(ended, /enough/);
  await waitUntil(() => aborted);
});

test("an error in the middle of a stream is told", async () => {
  asked.handleStream("tear", async (_params, _context, send) => {
    send(1);
    throw new KsError("DRAINING");
  });
  await assert.rejects(
    asking.stream(OTHER, "tear", null, () => undefined),
    { code: "DRAINING" },
  );
});

test("an answer that nobody takes fills no memory: it is cut off", async () => {
  let cutAfter = 0;
  asked.handleStream("flood", async (_params, { signal }, send) => {
    const line = "x".repeat(50_000);
    for (let i = 0; i < 1000 && !signal.aborted; i++) {
      if (send(line)) continue;
      cutAfter = i;
      return;
    }
  });
  await assert.rejects(
    asking.stream(OTHER, "flood", null, () => undefined),
    { code: "CLIENT_CLOSED" },
  );
  assert.ok(cutAfter > 0 && cutAfter < 1000);
});

test("a question that is under way when the gateway is lost fails with that", async () => {
  asked.handle("hang", () => new Promise(() => undefined));
  const hanging = asking.request(OTHER, "hang", null);
  hanging.catch(() => undefined);
  await asked.stop();
  await assert.rejects(hanging, /gateway-1 was lost/);
});
