import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../clock.ts";
import type { MetricsStore } from "../store/port.ts";
import { TaskGroup } from "../task-group.ts";
import { MetricsRegistry } from "./registry.ts";

class MemoryMetrics implements MetricsStore {
  readonly rows = new Map<string, Uint8Array>();
  saves = 0;
  broken = false;

  async loadMetrics(): Promise<Map<string, Uint8Array>> {
    return new Map(this.rows);
  }

  async saveMetrics(rows: ReadonlyMap<string, Uint8Array>): Promise<void> {
    this.saves++;
    if (this.broken) throw new Error("disk full");
    for (const [uid, row] of rows) this.rows.set(uid, row);
  }
}

const live = { inFlight: 0, replicas: 0 };

function setUp(store = new MemoryMetrics()) {
  const clock = new ManualClock();
  const errors: object[] = [];
  const registry = new MetricsRegistry({ store, clock, tasks: new TaskGroup({ error: (fields) => errors.push(fields) }) });
  return { store, clock, registry, errors };
}

test("what was counted is in the store a second later, and there after a restart", async () => {
  const { store, clock, registry } = setUp();
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  registry.counters("u1").record(5, 256, "TIMEOUT", clock.nowMs());
  await clock.advance(1_000);
  const again = setUp(store).registry;
  await again.load();
  assert.deepEqual(again.snapshot("u1", live), registry.snapshot("u1", live));
  assert.equal(again.snapshot("u1", live).invocations, 2);
});

test("a server that counts nothing writes nothing and has no timer", async () => {
  const { store, clock, registry } = setUp();
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  await clock.advance(60_000);
  assert.equal(store.saves, 1);
  assert.equal(clock.pendingTimers, 0);
});

test("only functions that changed are written", async () => {
  const { store, clock, registry } = setUp();
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  registry.counters("u2").record(5, 256, undefined, clock.nowMs());
  await clock.advance(1_000);
  store.rows.clear();
  registry.counters("u2").record(5, 256, undefined, clock.nowMs());
  await clock.advance(1_000);
  assert.deepEqual([...store.rows.keys()], ["u2"]);
});

test("a store that fails is tried again, ever more seldom, and nothing is lost", async () => {
  const { store, clock, registry, errors } = setUp();
  store.broken = true;
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  await clock.advance(60_000);
  assert.ok(store.saves >= 4 && store.saves <= 7, `${store.saves} tries in a minute`);
  assert.equal(errors.length, store.saves);
  store.broken = false;
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  await clock.advance(30_000);
  const again = setUp(store).registry;
  await again.load();
  assert.equal(again.snapshot("u1", live).invocations, 2);
});

test("stop writes what the last second brought", async () => {
  const { store, clock, registry } = setUp();
  registry.counters("u1").record(5, 256, undefined, clock.nowMs());
  await registry.stop();
  assert.equal(store.rows.size, 1);
  assert.equal(clock.pendingTimers, 0);
});

test("a function that was deleted does not come back by a call that still ran", async () => {
  const { store, clock, registry } = setUp();
  const kept = registry.counters("u1");
  kept.record(5, 256, undefined, clock.nowMs());
  registry.remove("u1");
  kept.record(5, 256, undefined, clock.nowMs());
  await clock.advance(5_000);
  assert.equal(store.rows.size, 0);
  assert.equal(registry.peek("u1"), undefined);
});
