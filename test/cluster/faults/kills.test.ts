import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../support/server.ts";
import { cluster, isForeignCluster, killContainer } from "../support/cluster.ts";
import { originOf } from "../support/platform.ts";
import { underCalls } from "../support/under-calls.ts";
import { World } from "../support/world.ts";

/** Others leave a silent gateway out after two seconds, and a call is sent within the third. */
const RECOVERED_MS = 3000;
const skip = isForeignCluster ? "needs a cluster whose processes can be killed" : false;

describe("killed", { skip }, () => {
  let world: World;
  before(async () => {
    world = await World.open();
    await world.deployWorker("killed", 2);
  });
  after(() => world.close());

  test("a gateway: only its own connections break, and only those; the other's calls go on", async () => {
    const victim = world.gatewayOn("node2");
    const dead = originOf(victim);
    const origins = world.gatewayOrigins;
    let isBack = false;
    const aftermath = await underCalls(
      { origins: () => (isBack ? world.gatewayOrigins : origins), path: "/fn/killed?ms=20" },
      async (mark) => {
        mark();
        await killContainer(victim, "server");
        await world.heal();
        isBack = true;
      },
    );
    // A call that was forwarded to the killed owner was inside of it.
    aftermath.assertNoFailures(({ origin, status }) => origin === dead || status === 502);
    aftermath.assertGoodAfter(RECOVERED_MS, ({ origin }) => origin !== dead);
  });

  test("the leader: another one leads, and functions are deployed and called", async () => {
    const leader = await world.leader();
    await killContainer(leader, "server");
    await world.heal();
    await world.leader();
    await world.platform.deploy({ name: "after-leader", code: "exports.handler = async () => 1;" });
    assert.equal((await world.platform.call("after-leader")).status, 200);
  });

  test("a replica: the calls in it fail with the reason, the next ones go elsewhere", async () => {
    const [victim] = await world.replicasOf("killed");
    const aftermath = await underCalls({ origins: () => [world.origin], path: "/fn/killed?ms=100" }, async (mark) => {
      mark();
      await killContainer(victim!, "replica");
      await waitFor("its deletion", async () =>
        (await world.replicasOf("killed")).every(({ metadata }) => metadata.uid !== victim!.metadata.uid),
      );
    });
    aftermath.assertNoFailures(({ status, code }) => status === 502 && code === "FUNCTION_CRASHED");
    aftermath.assertGoodAfter(1000);
  });

  test("a replica without memory: the caller is told so, and the pod is never used again", async () => {
    const before = await world.replicasOf("killed");
    const answer = await world.platform.call("killed", "?mib=400");
    assert.equal(answer.status, 502);
    assert.equal(answer.json.code, "FUNCTION_OUT_OF_MEMORY");
    await waitFor("a new pod in its place", async () => {
      const now = await world.replicasOf("killed");
      return now.length >= 2 && now.some(({ metadata }) => before.every((pod) => pod.metadata.uid !== metadata.uid));
    });
    for (const pod of await world.replicasOf("killed")) assert.equal(pod.status.containerStatuses?.[0]?.restartCount, 0, pod.metadata.name);
  });

  test("kubelet: nothing happens to calls", async () => {
    const aftermath = await underCalls({ origins: () => [world.origin], path: "/fn/killed" }, async () => {
      await cluster.restart("kubelet2");
      await world.heal();
    });
    aftermath.assertNoFailures();
  });
});
