import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DEFAULT_RETRY_POLICY, decideArrival, decideDelivery, type DeliveryCase, retryDelayMs, retryDelays } from "./retry.ts";

const T0 = Date.parse("2026-01-02T03:04:05.000Z");

function deliveryCase(overrides: Partial<DeliveryCase> = {}): DeliveryCase {
  return { queue: "orders", attempt: 1, maxAttempts: 5, firstFailedAtMs: undefined, policy: DEFAULT_RETRY_POLICY, ...overrides };
}

test("the wait doubles from 1 s and stops growing at 5 minutes", () => {
  const seconds = [1, 2, 3, 4, 5, 9, 10, 100].map((attempt) => retryDelayMs(attempt, DEFAULT_RETRY_POLICY) / 1000);
  assert.deepEqual(seconds, [1, 2, 4, 8, 16, 256, 300, 300]);
});

test("the wait never shrinks, is never beyond its limit and always a number", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 0, max: 10_000 }), (attempt, firstDelayMs) => {
      const policy = { firstDelayMs, maxDelayMs: 300_000 };
      const [now, next] = [retryDelayMs(attempt, policy), retryDelayMs(attempt + 1, policy)];
      assert.ok(now >= firstDelayMs && next >= now && next <= 300_000);
    }),
  );
});

test("a hundred attempts share ten different waits", () => {
  assert.deepEqual(
    retryDelays(100, DEFAULT_RETRY_POLICY),
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map((seconds) => seconds * 1000),
  );
  assert.deepEqual(retryDelays(1, DEFAULT_RETRY_POLICY), []);
});

test("success acks and a release is given back, whatever the attempt", () => {
  assert.deepEqual(decideDelivery({ kind: "ack" }, deliveryCase({ attempt: 5 }), T0), { kind: "ack" });
  assert.deepEqual(decideDelivery({ kind: "release" }, deliveryCase({ attempt: 5 }), T0), { kind: "release" });
});

test("a failure is retried and remembers when the first one was", () => {
  const first = decideDelivery({ kind: "fail", reason: "boom" }, deliveryCase(), T0);
  assert.deepEqual(first, { kind: "retry", delayMs: 1000, failures: 1, firstFailedAtMs: T0 });
  const third = decideDelivery({ kind: "fail", reason: "boom" }, deliveryCase({ attempt: 3, firstFailedAtMs: T0 }), T0 + 9_000);
  assert.deepEqual(third, { kind: "retry", delayMs: 4000, failures: 3, firstFailedAtMs: T0 });
});

test("the last failure makes a dead letter that says why", () => {
  const dead = decideDelivery({ kind: "fail", reason: "boom" }, deliveryCase({ attempt: 5, firstFailedAtMs: T0 }), T0 + 15_000);
  assert.deepEqual(dead, {
    kind: "dead",
    headers: {
      "x-dead-reason": "boom",
      "x-attempts": "5",
      "x-first-failed-at": "2026-01-02T03:04:05.000Z",
      "x-dead-at": "2026-01-02T03:04:20.000Z",
      "x-original-queue": "orders",
    },
  });
});

test("a reason of any length and content fits a header", () => {
  const reason = `${"a".repeat(1023)}\u{1F600}`;
  const dead = decideDelivery({ kind: "fail", reason }, deliveryCase({ maxAttempts: 1 }), T0);
  assert.ok(dead.kind === "dead");
  assert.equal(dead.headers["x-dead-reason"]?.length, 1024);
  assert.ok(dead.headers["x-dead-reason"]?.isWellFormed());
});

test("a message whose attempts are used up by crashes never reaches a handler again", () => {
  assert.deepEqual(decideArrival(deliveryCase({ attempt: 5 }), T0), { kind: "deliver" });
  const arrival = decideArrival(deliveryCase({ attempt: 6 }), T0);
  assert.ok(arrival.kind === "dead");
  assert.equal(arrival.headers["x-attempts"], "5");
});
