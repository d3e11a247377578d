import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import type { ApiClient } from "../../../packages/server/src/kubernetes/api-client.ts";
import { LeaderElection } from "../../../packages/server/src/kubernetes/leader-election.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { waitFor } from "../../support/server.ts";
import { quietLog, useStallingApiServer } from "./support.ts";

describe("leader election", { skip: apiServerMissing() }, () => {
  const api = useStallingApiServer();

  function candidate(name: string, identity: string, through: ApiClient, clock = systemClock) {
    const told: string[] = [];
    const election = new LeaderElection({
      client: through,
      namespace: "default",
      name,
      identity,
      clock,
      log: quietLog,
      onElected: () => told.push("elected"),
      onLost: () => told.push("lost"),
    });
    election.start();
    return { election, told };
  }

  test("one of several leads, and one that stops hands over at once", async () => {
    const all = ["a", "b", "c"].map((identity) => candidate("hand-over", identity, api.direct));
    try {
      const first = await waitFor("a leader", () => all.find(({ election }) => election.leads));
      assert.equal(all.filter(({ election }) => election.leads).length, 1);
      await first.election.stop();
      assert.deepEqual(first.told, ["elected", "lost"]);
      await waitFor("the next", () => all.some(({ election }) => election.leads), 5000);
      assert.equal(all.filter(({ election }) => election.leads).length, 1);
    } finally {
      for (const { election } of all) await election.stop();
    }
  });

  test("one that is cut off gives up before another leads, also when the other's clock is a minute ahead", async () => {
    const ahead = { ...systemClock, nowMs: () => Date.now() + 60_000 };
    const cutOff = candidate("cut", "cut-off", api.client);
    await waitFor("the first leader", () => cutOff.election.leads);
    const other = candidate("cut", "other", api.direct, ahead);
    try {
      api.proxy.refuse(true);
      await waitFor("the end of its lead", () => !cutOff.election.leads, 12_000);
      assert.equal(other.election.leads, false);
      await waitFor("the other's lead", () => other.election.leads, 12_000);
      api.proxy.refuse(false);
    } finally {
      await cutOff.election.stop();
      await other.election.stop();
    }
  });
});
