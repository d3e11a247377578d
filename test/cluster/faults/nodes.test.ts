import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { cluster, isForeignCluster } from "../support/cluster.ts";
import { originOf } from "../support/platform.ts";
import { underCalls } from "../support/under-calls.ts";
import { World } from "../support/world.ts";

const RECOVERED_MS = 3000;
const skip = isForeignCluster ? "needs a cluster whose nodes can be lost" : false;

describe("nodes", { skip }, () => {
  let world: World;
  before(async () => {
    world = await World.open();
    await world.deployWorker("spread", 4);
  });
  after(() => world.close());

  test("one is lost with a gateway, pools and replicas on it: the other gateway answers all calls again within 3 s", async () => {
    const nodes = new Set((await world.replicasOf("spread")).map(({ spec }) => spec.nodeName));
    assert.deepEqual(nodes, new Set(["node1", "node2"]), "the replicas are not on both nodes");
    const left = originOf(world.gatewayOn("node1"));
    const aftermath = await underCalls({ origins: () => [left], path: "/fn/spread?ms=20", limitMs: 60_000 }, async (mark) => {
      await cluster.lose();
      mark();
      await pause(20_000);
      await cluster.recover();
    });
    // What was inside replicas or the owner that were lost may fail; nothing that was sent later.
    aftermath.assertGoodAfter(RECOVERED_MS);
    await world.heal();
  });

  test("they are cut off from each other for 20 s, and heal", async () => {
    const here = originOf(world.gatewayOn("node1"));
    const aftermath = await underCalls({ origins: () => [here], path: "/fn/spread?ms=20", limitMs: 60_000 }, async (mark) => {
      mark();
      await cluster.cut();
      await pause(20_000);
      await cluster.heal();
    });
    aftermath.assertGoodAfter(RECOVERED_MS);
    await world.heal();
    for (const origin of world.gatewayOrigins) {
      const answer = await fetch(`${origin}/fn/spread`);
      assert.equal(answer.status, 200, await answer.text());
    }
  });
});
