import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createSigningKey } from "../protocol/proof.ts";
import { createOwnerQuestion } from "./owner-questions.ts";
import { KnownRevisions } from "./known-revisions.ts";
import { TestCluster, waitUntil } from "./testing/test-gateway.ts";

const cluster = await TestCluster.start(await createSigningKey(), 3);
await cluster.agreed();
const known = cluster.gateways.map(() => new Map<string, number>());
const asked = [0, 0, 0];
const revisions = cluster.gateways.map(
  ({ id, peers }, index) =>
    new KnownRevisions({
      selfId: id,
      peers,
      knows(uid, generation) {
        asked[index]!++;
        return (known[index]!.get(uid) ?? 0) >= generation;
      },
    }),
);
const [first] = revisions;
assert.ok(first !== undefined);

after(() => cluster.stop());

test("a generation is known everywhere once the last gateway knows it, and others are asked but once", async () => {
  assert.equal(await first.isKnownEverywhere("f", 2), false);
  known[0]!.set("f", 2);
  known[1]!.set("f", 3);
  known[2]!.set("f", 1);
  assert.equal(await first.isKnownEverywhere("f", 2), false);
  known[2]!.set("f", 2);
  assert.equal(await first.isKnownEverywhere("f", 2), true);
  const before = asked[1]! + asked[2]!;
  assert.equal(first.isKnownEverywhere("f", 2), true, "at once");
  assert.equal(asked[1]! + asked[2]!, before);
});

test("many questions of one moment are one request", async () => {
  const uids = Array.from({ length: 500 }, (_, i) => `g${i}`);
  uids.forEach((uid, i) => known.forEach((map, gateway) => map.set(uid, gateway === 2 && i % 2 === 0 ? 0 : 1)));
  const answers = await Promise.all(uids.map(async (uid) => first.isKnownEverywhere(uid, 1)));
  assert.deepEqual(
    answers,
    uids.map((_, i) => i % 2 === 1),
  );
});

test("what only the owner can answer is asked there", async () => {
  const questions = cluster.gateways.map(({ id, peers }) => createOwnerQuestion(peers, id, "scaling", (uid) => ({ uid, from: id })));
  const uid = cluster.uidOwnedBy("gateway-1");
  for (const question of questions) assert.deepEqual(await question(uid), { uid, from: "gateway-1" });
});

test("a gateway that is gone is not waited for", async () => {
  for (const map of known) map.set("h", 1);
  known[2]!.delete("h");
  await cluster.gateway("gateway-2").peers.stop();
  await waitUntil(() => cluster.gateways[0]!.peers.view.members.length === 2);
  assert.equal(await first.isKnownEverywhere("h", 1), true);
});
