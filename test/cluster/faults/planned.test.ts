import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, kubectl, SYSTEM_NAMESPACE } from "../support/cluster.ts";
import { underCalls } from "../support/under-calls.ts";
import { WORKER, World } from "../support/world.ts";

// What an administrator or a developer does on purpose: no call fails.
describe("planned", () => {
  let world: World;
  before(async () => {
    world = await World.open();
    await world.deployWorker("planned", 2);
  });
  after(() => world.close());
  const calls = () => ({ origins: () => [world.origin], path: "/fn/planned?ms=50" });

  test("a function is updated", async () => {
    const aftermath = await underCalls(calls(), async () => {
      for (const word of ["first", "second"]) {
        await world.platform.put("planned", { code: `${WORKER}\n// ${word}`, minReplicas: 2 });
        assert.equal((await world.platform.settled("planned")).state, "running");
      }
    });
    aftermath.assertNoFailures();
  });

  test("replicas are deleted one after the other", async () => {
    const aftermath = await underCalls(calls(), async () => {
      const old = await world.replicasOf("planned");
      for (const { metadata } of old) {
        await kubectl(["delete", "pod", metadata.name, "--namespace", FUNCTIONS_NAMESPACE, "--wait=false"]);
        await waitFor(
          "a replacement",
          async () => {
            const now = await world.replicasOf("planned");
            return now.length >= 2 && now.every((pod) => pod.metadata.uid !== metadata.uid);
          },
          30_000,
        );
      }
    });
    aftermath.assertNoFailures();
  });

  test("gateways are restarted by a rollout", async () => {
    const aftermath = await underCalls(calls(), async () => {
      await kubectl(["rollout", "restart", "deployment/kube-serverless", "--namespace", SYSTEM_NAMESPACE]);
      await kubectl(["rollout", "status", "deployment/kube-serverless", "--namespace", SYSTEM_NAMESPACE, "--timeout=180s"]);
      await world.heal();
    });
    aftermath.assertNoFailures();
  });

  test("a node is drained, and comes back", async () => {
    const aftermath = await underCalls(calls(), async () => {
      try {
        await kubectl(["drain", "node2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"]);
      } finally {
        await kubectl(["uncordon", "node2"]);
      }
    });
    aftermath.assertNoFailures();
    // Nobody moves gateways back by themselves; the next tests want one on each node.
    await kubectl(["rollout", "restart", "deployment/kube-serverless", "--namespace", SYSTEM_NAMESPACE]);
    await kubectl(["rollout", "status", "deployment/kube-serverless", "--namespace", SYSTEM_NAMESPACE, "--timeout=180s"]);
    await world.heal();
  });
});
