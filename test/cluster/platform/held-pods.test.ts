import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, list, type Pod } from "../support/cluster.ts";
import { World } from "../support/world.ts";

/** Much shorter than the grace that calls in a pod get when it ends in order. */
const GONE_LIMIT_MS = 90_000;

describe("a pod whose code never gives its event loop back", () => {
  let world: World;
  before(async () => (world = await World.open()));
  after(() => world.close());

  async function untilGone(uid: string): Promise<void> {
    const selector = `kube-serverless.io/function-uid=${uid}`;
    await waitFor("its pods to be gone", async () => (await list<Pod>("pods", FUNCTIONS_NAMESPACE, selector)).length === 0, GONE_LIMIT_MS);
  }

  test("is gone soon after its call has timed out", async () => {
    await world.platform.deploy({ name: "held", code: "exports.handler = () => { while (true); };", timeout: 1 });
    const uid = await world.uidOf("held");
    assert.equal((await world.platform.invoke("held")).status, 504);
    await world.platform.delete("held");
    await untilGone(uid);
  });
});
