import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { ManualClock } from "../../clock.ts";
import { TaskGroup } from "../../task-group.ts";
import { type BudgetEvent, Budgets } from "./budgets.ts";
import { rollOver, spentUsd, type Usage } from "./daily-budget.ts";
import { MemoryBudgetStore } from "./memory-budget-store.ts";

const DAY_MS = 86_400_000;
const MIDNIGHT = 20_000 * DAY_MS;
const prices = { perGbSecond: 0, perInvocation: 1 };

function open(store = new MemoryBudgetStore(), clock = new ManualClock(MIDNIGHT + 3_600_000)) {
  const events: BudgetEvent[] = [];
  const tasks = new TaskGroup({ error: (fields) => assert.fail(JSON.stringify(fields)) });
  const budgets = new Budgets({ store, clock, tasks, prices, onEvent: (event) => events.push(event) });
  return { store, clock, events, tasks, budgets };
}

const calls = (invocations: number): Usage => ({ gbSeconds: 0, invocations });
const exceeded = (details: object) => ({ code: "BUDGET_EXCEEDED", status: 429, ...details });

test("at the cap calls are refused until the day ends in UTC, then there is a budget again", async () => {
  const { budgets, clock } = open();
  budgets.check("f", { perDay: 10 }, calls(1_000));
  budgets.check("f", { perDay: 10 }, calls(1_009));
  const until = new Date(MIDNIGHT + DAY_MS).toISOString();
  assert.throws(
    () => budgets.check("f", { perDay: 10 }, calls(1_010)),
    exceeded({ retryAfterMs: 23 * 3_600_000, details: { perDay: 10, until } }),
  );
  await clock.advance(23 * 3_600_000 - 1);
  assert.throws(() => budgets.check("f", { perDay: 10 }, calls(1_010)), exceeded({ retryAfterMs: 1 }));
  await clock.advance(1);
  budgets.check("f", { perDay: 10 }, calls(1_010));
});

test("80 % and all of it are told once a day each", async () => {
  const { budgets, clock, events } = open();
  for (let made = 0; made <= 12; made++) budgets.settle("f", { perDay: 10 }, calls(made));
  const expected = [
    { uid: "f", kind: "nearly-spent", spentUsd: 8, perDayUsd: 10 },
    { uid: "f", kind: "spent", spentUsd: 10, perDayUsd: 10 },
  ];
  assert.deepEqual(events, expected);
  await clock.advance(DAY_MS);
  budgets.settle("f", { perDay: 10 }, calls(12));
  budgets.settle("f", { perDay: 10 }, calls(20));
  assert.equal(events.length, 3);
});

test("a raised budget lets calls in at once, and is told of anew", () => {
  const { budgets, events } = open();
  budgets.check("f", { perDay: 10 }, calls(0));
  budgets.settle("f", { perDay: 10 }, calls(10));
  assert.throws(() => budgets.check("f", { perDay: 10 }, calls(10)), exceeded({}));
  budgets.check("f", { perDay: 20 }, calls(10));
  budgets.settle("f", { perDay: 20 }, calls(11));
  budgets.settle("f", { perDay: 20 }, calls(16));
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ["spent", "nearly-spent"],
  );
});

test("a restart keeps what was spent, and what was told", async () => {
  const first = open();
  first.budgets.settle("f", { perDay: 10 }, calls(100));
  first.budgets.settle("f", { perDay: 10 }, calls(109));
  await first.budgets.stop();
  const second = open(first.store, first.clock);
  await second.budgets.load();
  second.budgets.settle("f", { perDay: 10 }, calls(109));
  assert.deepEqual(second.events, []);
  assert.equal(second.budgets.spentToday("f", calls(109)), 9);
  assert.throws(() => second.budgets.check("f", { perDay: 10 }, calls(110)), exceeded({}));
});

test("counters that a crash set back by a moment are no news when they come there again", async () => {
  const first = open();
  for (let made = 0; made <= 8; made++) first.budgets.settle("f", { perDay: 10 }, calls(made));
  assert.equal(first.events.length, 1);
  // What was told is written at once; the server dies before anything else is.
  await first.clock.advance(0);
  await first.tasks.drain();
  const second = open(first.store, first.clock);
  await second.budgets.load();
  for (let made = 5; made <= 12; made++) second.budgets.settle("f", { perDay: 10 }, calls(made));
  assert.deepEqual(
    second.events.map(({ kind }) => kind),
    ["spent"],
  );
});

test("is written within a second, and forgotten with its function", async () => {
  const { budgets, clock, store, tasks } = open();
  budgets.check("f", { perDay: 1 }, calls(0));
  await clock.advance(1000);
  await tasks.drain();
  assert.equal((await store.load()).size, 1);
  await budgets.remove("f");
  assert.equal((await store.load()).size, 0);
});

test("a clock that is set back about midnight does not give the old day another budget; one set far off does not shut for long", () => {
  const today = rollOver(undefined, calls(5), MIDNIGHT + 1000);
  assert.equal(rollOver(today, calls(9), MIDNIGHT - 60_000), today);
  const early = rollOver(today, calls(9), MIDNIGHT - 2 * 3_600_000);
  assert.equal(spentUsd(early, calls(9), prices), 0);
  const future = rollOver(undefined, calls(5), MIDNIGHT + 900 * DAY_MS);
  assert.equal(rollOver(future, calls(9), MIDNIGHT).startMs, MIDNIGHT);
});

test("counters that were lost do not make a day negative", () => {
  const day = rollOver(undefined, calls(1_000), MIDNIGHT);
  const after = rollOver(day, calls(3), MIDNIGHT + 5);
  assert.equal(spentUsd(after, calls(3), prices), 3);
});

test("a day's spending is what its calls cost, whatever was before", () => {
  const steps = fc.array(fc.record({ pauseMs: fc.integer({ min: 0, max: DAY_MS / 2 }), calls: fc.nat(20) }), { maxLength: 30 });
  fc.assert(
    fc.property(steps, (all) => {
      let nowMs = MIDNIGHT;
      let made = 0;
      const perDay = new Map<number, number>();
      let day = rollOver(undefined, calls(0), nowMs);
      for (const step of all) {
        nowMs += step.pauseMs;
        day = rollOver(day, calls(made), nowMs);
        made += step.calls;
        const date = Math.floor(nowMs / DAY_MS);
        perDay.set(date, (perDay.get(date) ?? 0) + step.calls);
        assert.equal(spentUsd(day, calls(made), prices), perDay.get(date));
      }
    }),
  );
});
