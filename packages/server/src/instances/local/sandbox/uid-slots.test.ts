import assert from "node:assert/strict";
import { test } from "node:test";
import { UidSlots } from "./uid-slots.ts";

test("no two have the same user id, and one that is free again is used last", () => {
  const slots = new UidSlots({ first: 200_000, count: 3 });
  assert.deepEqual([slots.acquire(), slots.acquire()], [200_000, 200_001]);
  slots.release(200_000);
  assert.deepEqual([slots.acquire(), slots.acquire()], [200_002, 200_000]);
});

test("when all are taken that is said with the way out", () => {
  const slots = new UidSlots({ first: 200_000, count: 1 });
  slots.acquire();
  assert.throws(() => slots.acquire(), { code: "NO_CAPACITY", message: /--uid-range/ });
  slots.release(200_000);
  assert.equal(slots.acquire(), 200_000);
});
