import assert from "node:assert/strict";
import { test } from "node:test";
import type { Principal } from "../principal.ts";
import { enterAll, leaveAll } from "./admission.ts";
import { CallLimits } from "./call-limits.ts";

const caller = (subject: string, limits: Partial<Principal> = {}): Principal => ({
  subject,
  kind: "api-key",
  name: subject,
  grants: [],
  expiresAtMs: undefined,
  rateLimit: undefined,
  maxConcurrency: undefined,
  claims: undefined,
  ...limits,
});
const nowhere = (): string => assert.fail("asks for the address");
const UNLIMITED = {};

test("costs nothing where nothing is limited", () => {
  const limits = new CallLimits({ caller: {}, global: {} });
  assert.equal(limits.of({}, UNLIMITED, undefined, nowhere, 0), undefined);
  assert.equal(limits.of({}, UNLIMITED, caller("a"), nowhere, 0), undefined);
});

test("each function has its own limit, and a changed one takes nothing back", () => {
  const limits = new CallLimits({ caller: {}, global: {} });
  const [one, other] = [{}, {}];
  const spec = { rateLimit: { requestsPerSecond: 1, burst: 2 } };
  const enter = (entry: object, of = spec) => enterAll(limits.of(entry, of, undefined, nowhere, 0)!, 0);
  assert.equal(enter(one), undefined);
  assert.equal(enter(one), undefined);
  assert.equal(enter(one)?.scope, "function");
  assert.equal(enter(other), undefined);
  assert.equal(enter(one, { rateLimit: { requestsPerSecond: 1, burst: 2 } })?.scope, "function");
});

test("callers have their own limit, else the general one; the unknown are told apart by their address", () => {
  const limits = new CallLimits({ caller: { maxConcurrency: 1 }, global: {} });
  const enter = (principal: Principal | undefined, address = "192.0.2.1") => {
    const set = limits.of({}, UNLIMITED, principal, () => address, 0)!;
    return { refusal: enterAll(set, 0), leave: () => leaveAll(set) };
  };
  const first = enter(undefined);
  assert.equal(first.refusal, undefined);
  assert.equal(enter(undefined).refusal?.kind, "concurrency");
  assert.equal(enter(undefined, "192.0.2.2").refusal, undefined);
  first.leave();
  assert.equal(enter(undefined).refusal, undefined);
  const wide = caller("key:wide", { maxConcurrency: 2 });
  assert.deepEqual(
    [enter(wide), enter(wide), enter(wide)].map(({ refusal }) => refusal?.scope),
    [undefined, undefined, "caller"],
  );
});

test("all together have one limit", () => {
  const limits = new CallLimits({ caller: {}, global: { rateLimit: { requestsPerSecond: 1, burst: 1 } } });
  assert.equal(enterAll(limits.of({}, UNLIMITED, caller("a"), nowhere, 0)!, 0), undefined);
  assert.equal(enterAll(limits.of({}, UNLIMITED, caller("b"), nowhere, 0)!, 0)?.scope, "global");
});

test("a caller's limiters for a function are the same from call to call, until one of them is another", () => {
  const limits = new CallLimits({ caller: { maxConcurrency: 5 }, global: {} });
  const [entry, who] = [{}, caller("a")];
  const spec = { maxConcurrency: 2 };
  const first = limits.of(entry, spec, who, nowhere, 0)!;
  assert.equal(limits.of(entry, spec, who, nowhere, 1, first), first);
  // A changed limit is in the same limiter, where what runs goes on counting.
  enterAll(first, 1);
  const changed = limits.of(entry, { maxConcurrency: 1 }, who, nowhere, 2, first)!;
  assert.equal(changed, first);
  assert.equal(enterAll(changed, 2)?.scope, "function");
  const none = limits.of(entry, UNLIMITED, who, nowhere, 3, first)!;
  assert.deepEqual([none.function, none.caller], [undefined, first.caller]);
  assert.notEqual(limits.of({}, spec, who, nowhere, 4, first)?.function, first.function);
});

test("a caller whose limiter was forgotten is not held to the old one", () => {
  const limits = new CallLimits({ caller: { rateLimit: { requestsPerSecond: 1, burst: 1 } }, global: {} });
  const who = caller("a");
  const before = limits.of({}, UNLIMITED, who, nowhere, 0)!;
  // Full buckets are forgotten as others come.
  for (let count = 0; count < 10; count++) limits.of({}, UNLIMITED, caller(`other-${count}`), nowhere, 0);
  const after = limits.of({}, UNLIMITED, who, nowhere, 0, before)!;
  assert.notEqual(after.caller, before.caller);
  assert.equal(limits.of({}, UNLIMITED, who, nowhere, 0, after), after);
});
