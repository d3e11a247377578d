import { TestGateway, keysOf } from "../../../packages/server/src/peers/testing/test-gateway.ts";
import type { Answer, CallOutcome, Order, Setup } from "./gateway-process.ts";

/** A gateway in a process of its own, as far as its peers see it; the test orders it about over IPC. */
const setup = JSON.parse(process.argv[2]!) as Setup;
const { self, candidates, signingKey, concurrency } = setup;
const gateway = new TestGateway(self, keysOf(signingKey), { concurrency });

async function obey(order: Order): Promise<unknown> {
  const { peers, provider } = gateway;
  switch (order.kind) {
    case "view":
      return peers.view.members;
    case "owner":
      return peers.ownerOf(order.uid);
    case "begun":
      return provider.trace.begun;
    case "queued":
      return gateway.dispatcher(order.uid).queued;
    case "drain":
      return peers.drain();
    case "release":
      for (const release of provider.trace.release.splice(0)) release();
      return undefined;
    default:
      return call(order.uid, order.path);
  }
}

async function call(uid: string, path: string): Promise<CallOutcome> {
  const startedAtMs = Date.now();
  const { status, body, error, call: ended } = await gateway.call(uid, path).result;
  const outcome: CallOutcome = { id: ended.head.id, body: body.toString(), startedAtMs, tookMs: Date.now() - startedAtMs };
  if (status !== undefined) outcome.status = status;
  if (error !== undefined) Object.assign(outcome, { code: error.code, details: error.details });
  return outcome;
}

process.on("message", ({ id, order }: { id: number; order: Order }) => {
  obey(order).then(
    (value) => process.send!({ id, value } satisfies Answer),
    (error: Error) => process.send!({ id, error: error.message } satisfies Answer),
  );
});
process.on("disconnect", () => process.exit());
await gateway.start(candidates);
process.send!({ id: 0, value: "ready" } satisfies Answer);
