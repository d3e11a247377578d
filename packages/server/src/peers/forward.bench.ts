import { createSigningKey } from "../protocol/proof.ts";
import { TestCluster } from "./testing/test-gateway.ts";

/** CPU time that the way over another gateway adds to a call, both gateways together: node --min-semi-space-size=16 packages/server/src/peers/forward.bench.ts */
const CALLS = 20_000;
const AT_ONCE = 32;
const BODY = [Buffer.from('{"key":"value","data":[1,2,3]}')];

async function measure(cluster: TestCluster, gateway: string, uid: string): Promise<number> {
  const caller = cluster.gateway(gateway);
  const before = process.cpuUsage();
  let left = CALLS;
  const lane = async (): Promise<void> => {
    while (left-- > 0) await caller.call(uid, "/echo", BODY).result;
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const { user, system } = process.cpuUsage(before);
  for (const each of cluster.gateways) {
    each.ended.length = 0;
    each.provider.trace.begun.length = 0;
  }
  return (user + system) / CALLS;
}

const cluster = await TestCluster.start(await createSigningKey(), 2);
await cluster.agreed();
const uid = cluster.uidOwnedBy("gateway-1");
const rounds: { local: number; forwarded: number }[] = [];
for (let round = 0; round < 6; round++) {
  const local = await measure(cluster, "gateway-1", uid);
  const forwarded = await measure(cluster, "gateway-0", uid);
  // The first one warms up.
  if (round > 0) rounds.push({ local, forwarded });
}
const middle = (figures: number[]): string => figures.sort((a, b) => a - b)[figures.length >> 1]!.toFixed(1);
console.log(
  `local ${middle(rounds.map(({ local }) => local))} µs, forwarded ${middle(rounds.map(({ forwarded }) => forwarded))} µs a call`,
);
console.log(`the hop: ${middle(rounds.map(({ local, forwarded }) => forwarded - local))} µs`);
await cluster.stop();
