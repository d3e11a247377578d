import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { waitFor } from "../../support/server.ts";
import { cluster, isForeignCluster } from "../support/cluster.ts";
import { underCalls } from "../support/under-calls.ts";
import { World } from "../support/world.ts";

const AWAY_MS = 60_000;
const skip = isForeignCluster ? "needs a cluster whose control plane can be stopped" : false;

describe("without the control plane", { skip }, () => {
  let world: World;
  before(async () => {
    world = await World.open();
    await world.deployWorker("warm", 1);
    await world.platform.deploy({ name: "cold", code: "exports.handler = async () => 1;" });
  });
  after(() => world.close());

  test("the API server is away for a minute: warm calls and first calls go on, deploys say 503, and it heals by itself", async () => {
    const aftermath = await underCalls({ origins: () => world.gatewayOrigins, path: "/fn/warm", callsPerSecond: 10 }, async () => {
      await cluster.stop("apiserver");
      try {
        const cold = await world.platform.call("cold");
        assert.equal(cold.status, 200, cold.text);
        const deploy = await world.platform.create({ name: "not-now", code: "exports.handler = async () => 1;" });
        assert.equal(deploy.status, 503, deploy.text);
        assert.equal(deploy.json.code, "STORE_UNAVAILABLE");
        const ready = await world.platform.send({ path: "/ready" });
        assert.equal(ready.status, 200);
        assert.match(ready.text, /degraded.*api/i);
        await pause(AWAY_MS);
      } finally {
        await cluster.restart("apiserver");
      }
    });
    aftermath.assertNoFailures();
    await world.heal();
    await waitFor(
      "a deploy",
      async () => (await world.platform.create({ name: "then", code: "exports.handler = async () => 1;" })).status === 201,
      30_000,
    );
    assert.equal((await world.platform.settled("then")).state, "running");
  });

  test("etcd is restarted: calls go on, and so do deploys a moment later", async () => {
    const aftermath = await underCalls({ origins: () => world.gatewayOrigins, path: "/fn/warm", callsPerSecond: 10 }, async () => {
      await cluster.restart("etcd");
      await waitFor(
        "a deploy",
        async () => (await world.platform.create({ code: "exports.handler = async () => 1;" })).status === 201,
        60_000,
      );
    });
    aftermath.assertNoFailures();
    await world.heal();
  });
});
