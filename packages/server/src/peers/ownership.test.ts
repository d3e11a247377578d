import assert from "node:assert/strict";
import test from "node:test";
import { Ownership } from "./ownership.ts";

const UIDS = Array.from({ length: 200 }, (_, i) => `uid-${i}`);

test("a gateway that sees nobody ready owns everything itself", () => {
  const ownership = new Ownership("a");
  assert.ok(UIDS.every((uid) => ownership.isOwner(uid)));
});

test("each function has one owner, the same behind every gateway", () => {
  const gateways = ["a", "b", "c"].map((id) => new Ownership(id));
  for (const gateway of gateways) gateway.follow({ epoch: 1, members: ["a", "b", "c"] });
  for (const uid of UIDS) {
    assert.equal(new Set(gateways.map((gateway) => gateway.ownerOf(uid))).size, 1);
    assert.equal(gateways.filter((gateway) => gateway.isOwner(uid)).length, 1);
  }
});

test("a gateway that is not ready owns nothing as long as another is", () => {
  const draining = new Ownership("a");
  draining.follow({ epoch: 1, members: ["b"] });
  assert.ok(UIDS.every((uid) => draining.ownerOf(uid) === "b"));
});

test("listeners hear each change once, and nothing after they have left", () => {
  const ownership = new Ownership("a");
  const heard: number[] = [];
  const leave = ownership.onChanged(({ epoch }) => heard.push(epoch));
  const first = { epoch: 1, members: ["a"] };
  ownership.follow(first);
  ownership.follow(first);
  ownership.follow({ epoch: 2, members: ["a", "b"] });
  leave();
  ownership.follow({ epoch: 3, members: ["a"] });
  assert.deepEqual(heard, [1, 2]);
});
