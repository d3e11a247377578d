import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { decideMembers, type GatewayState, Membership, PING_INTERVAL_MS, SILENT_AFTER_MS } from "./membership.ts";

const READY = { id: "self", state: "ready" } as const;

test("only who is ready and was heard within 2 s is a member", () => {
  const cases: [GatewayState, number, boolean][] = [
    ["ready", 0, true],
    ["ready", SILENT_AFTER_MS - 1, true],
    ["ready", SILENT_AFTER_MS, false],
    ["ready", Number.POSITIVE_INFINITY, false],
    ["starting", 0, false],
    ["draining", 0, false],
  ];
  for (const [state, silentMs, isMember] of cases) {
    const { members } = decideMembers(READY, [{ id: "peer", state, heardAtMs: 10_000 - silentMs }], 10_000);
    assert.equal(members.includes("peer"), isMember, `${state}, silent for ${silentMs} ms`);
  }
});

test("the decision says when it has to be taken again", () => {
  const peers = [
    { id: "a", state: "ready", heardAtMs: 9000 },
    { id: "b", state: "ready", heardAtMs: 8500 },
    { id: "c", state: "draining", heardAtMs: 8100 },
  ] as const;
  assert.equal(decideMembers(READY, peers, 10_000).dueAtMs, 10_500);
  assert.equal(decideMembers(READY, [], 10_000).dueAtMs, Number.POSITIVE_INFINITY);
});

test("whoever starts or drains does not count itself, in any order of what it hears", () => {
  const peers = [
    { id: "z", state: "ready", heardAtMs: 0 },
    { id: "a", state: "ready", heardAtMs: 0 },
  ] as const;
  assert.deepEqual(decideMembers(READY, peers, 1).members, ["a", "self", "z"]);
  assert.deepEqual(decideMembers({ id: "self", state: "draining" }, peers, 1).members, ["a", "z"]);
  assert.deepEqual(decideMembers({ id: "self", state: "starting" }, peers.toReversed(), 1).members, ["a", "z"]);
});

/** Looks as often as the product does, from `fromMs` to `toMs`. */
function lookUntil(membership: Membership, fromMs: number, toMs: number): void {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += PING_INTERVAL_MS) membership.look(nowMs);
}

test("a peer that falls silent is left out after 2 s, and back with the first word from it", () => {
  const membership = new Membership("self", 0);
  membership.setSelfState("ready");
  membership.noteState("peer", "ready", 0);
  assert.deepEqual(membership.look(0), { epoch: 1, members: ["peer", "self"] });
  lookUntil(membership, 250, 1750);
  assert.equal(membership.view.epoch, 1);
  assert.ok(!membership.isTrusted("peer", 1000), "nothing new for who may be gone");
  assert.deepEqual(membership.look(2000), { epoch: 2, members: ["self"] });
  membership.noteHeard("peer", 2100);
  assert.deepEqual(membership.look(2100), { epoch: 3, members: ["peer", "self"] });
});

test("a peer that is gone for certain is left out at once", () => {
  const membership = new Membership("self", 0);
  membership.noteState("peer", "ready", 0);
  membership.look(0);
  membership.noteGone("peer");
  assert.deepEqual(membership.look(1).members, []);
});

test("whoever stood still itself leaves nobody out for that", () => {
  const membership = new Membership("self", 0);
  membership.setSelfState("ready");
  membership.noteState("peer", "ready", 0);
  membership.look(0);
  assert.deepEqual(membership.look(30_000).members, ["peer", "self"], "stopped for 30 s");
  lookUntil(membership, 30_250, 31_500);
  assert.equal(membership.view.epoch, 1);
  assert.deepEqual(membership.look(31_750).members, ["self"], "but then it has to be heard");
});

test("a view changes exactly when its members do", () => {
  const event = fc.oneof(
    fc.record({
      kind: fc.constant("state" as const),
      id: fc.constantFrom("a", "b"),
      state: fc.constantFrom<GatewayState>("starting", "ready", "draining"),
    }),
    fc.record({ kind: fc.constant("heard" as const), id: fc.constantFrom("a", "b") }),
    fc.record({ kind: fc.constant("gone" as const), id: fc.constantFrom("a", "b") }),
    fc.record({ kind: fc.constant("forget" as const), id: fc.constantFrom("a", "b") }),
    fc.record({ kind: fc.constant("self" as const), state: fc.constantFrom<GatewayState>("starting", "ready", "draining") }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 3000 }) }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const membership = new Membership("self", 0);
      let nowMs = 0;
      let before = membership.view;
      for (const each of events) {
        if (each.kind === "state") membership.noteState(each.id, each.state, nowMs);
        else if (each.kind === "heard") membership.noteHeard(each.id, nowMs);
        else if (each.kind === "gone") membership.noteGone(each.id);
        else if (each.kind === "forget") membership.forget(each.id);
        else if (each.kind === "self") membership.setSelfState(each.state);
        else {
          lookUntil(membership, nowMs, nowMs + each.ms);
          before = membership.view;
          nowMs += each.ms;
        }
        const view = membership.look(nowMs);
        assert.equal(view === before, String(view.members) === String(before.members));
        assert.ok(view.epoch >= before.epoch && view.epoch <= before.epoch + 1);
        assert.equal(view.members.includes("self"), membership.selfState === "ready");
        for (const id of view.members)
          assert.ok(id === "self" || (membership.record(id)?.state === "ready" && membership.isHeard(id, nowMs)));
        before = view;
      }
    }),
    { seed: 29, numRuns: 300 },
  );
});
