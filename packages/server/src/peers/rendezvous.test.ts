import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { chooseOwner, hashMembers, hashText } from "./rendezvous.ts";

const names = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,40}$/), { minLength: 1, maxLength: 12 });
const uids = fc.array(fc.uuid(), { minLength: 1, maxLength: 60 });
const SEEDED = { seed: 23, numRuns: 300 };

const ownersOf = (uidList: readonly string[], members: readonly string[]): (string | undefined)[] => {
  const hashed = hashMembers(members);
  return uidList.map((uid) => chooseOwner(hashText(uid), hashed));
};

test("every gateway computes the same owner, in whatever order it knows the others", () => {
  fc.assert(
    fc.property(names, uids, (members, functions) => {
      assert.deepEqual(ownersOf(functions, members), ownersOf(functions, members.toReversed()));
    }),
    SEEDED,
  );
});

test("a gateway that comes takes functions to itself and moves no other; one that goes leaves only its own", () => {
  fc.assert(
    fc.property(names, fc.stringMatching(/^[a-z0-9-]{1,40}$/), uids, (members, newcomer, functions) => {
      fc.pre(!members.includes(newcomer));
      const without = ownersOf(functions, members);
      const withNewcomer = ownersOf(functions, [...members, newcomer]);
      withNewcomer.forEach((owner, i) => assert.ok(owner === without[i] || owner === newcomer));
    }),
    SEEDED,
  );
});

test("functions are spread evenly, whatever the pods are called", () => {
  const functions = Array.from({ length: 6000 }, (_, i) => `8f1c2d7e-0000-4000-8000-${i.toString(16).padStart(12, "0")}`);
  for (const members of [
    ["gateway-6d5f8c7b9-x2x4v", "gateway-6d5f8c7b9-9qk2m"],
    ["gateway-0", "gateway-1", "gateway-2"],
    ["a", "b", "c", "d", "e", "f", "g"],
  ]) {
    const counts = new Map<string, number>();
    for (const owner of ownersOf(functions, members)) counts.set(owner!, (counts.get(owner!) ?? 0) + 1);
    const fair = functions.length / members.length;
    for (const member of members) {
      const count = counts.get(member) ?? 0;
      assert.ok(count > fair * 0.85 && count < fair * 1.15, `${member} owns ${count}, fair are ${fair}`);
    }
  }
});

test("the figures are fixed, as gateways of two versions stand beside each other in an upgrade", () => {
  assert.deepEqual(["", "a", "gateway-0"].map(hashText), [0xab3e7c0b, 0x1a80b1b3, 0xba9c3c1d]);
  assert.deepEqual(ownersOf(["f1", "f2", "f3", "f4", "f5", "f6"], ["gateway-0", "gateway-1", "gateway-2"]), [
    "gateway-0",
    "gateway-2",
    "gateway-2",
    "gateway-1",
    "gateway-0",
    "gateway-1",
  ]);
});

test("nobody owns anything where nobody is ready", () => {
  assert.equal(chooseOwner(hashText("f"), []), undefined);
});
