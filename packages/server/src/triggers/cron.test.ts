import assert from "node:assert/strict";
import { test } from "node:test";
import { ManualClock } from "../clock.ts";
import { createMemoryStore, type MemoryStore } from "../store/memory-store.ts";
import { TaskGroup } from "../task-group.ts";
import { type CronInvocation, type CronInvocationResult, CronScheduler, type DesiredCronTrigger } from "./cron.ts";

const NOON_MS = Date.UTC(2024, 0, 15, 12);
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

type Answer = CronInvocationResult | Promise<CronInvocationResult>;

interface Call {
  uid: string;
  plannedAt: string;
  invocation: CronInvocation;
}

interface Bench {
  clock: ManualClock;
  store: MemoryStore;
  calls: Call[];
  warnings: string[];
  errors: object[];
  scheduler: CronScheduler;
  answer: (call: Call) => Answer;
}

function setUp(changes: { clock?: ManualClock; store?: MemoryStore; calls?: Call[]; answer?: (call: Call) => Answer } = {}): Bench {
  const clock = changes.clock ?? new ManualClock(NOON_MS);
  const store = changes.store ?? createMemoryStore();
  const calls = changes.calls ?? [];
  const warnings: string[] = [];
  const errors: object[] = [];
  const bench: Partial<Bench> = { clock, store, calls, warnings, errors, answer: changes.answer ?? (() => ({ ok: true })) };
  bench.scheduler = new CronScheduler({
    store,
    clock,
    tasks: new TaskGroup({ error: (fields) => errors.push(fields) }),
    log: { warn: (_fields, message) => warnings.push(message) },
    invoke: async (uid, invocation) => {
      const call = { uid, plannedAt: invocation.trigger.plannedAt, invocation };
      calls.push(call);
      return (bench as Bench).answer(call);
    },
  });
  return bench as Bench;
}

function trigger(schedule: string, config: Partial<DesiredCronTrigger["config"]> = {}, uid = "u1"): DesiredCronTrigger {
  return { uid, config: { schedule, ...config } };
}

function times({ calls }: Pick<Bench, "calls">): string[] {
  return calls.map(({ plannedAt }) => plannedAt.slice(11, 19));
}

async function states(store: MemoryStore, uid = "u1"): Promise<string[]> {
  const runs = await store.listCronRuns(uid, 100);
  return runs.map(({ plannedAtMs, state }) => `${new Date(plannedAtMs).toISOString().slice(11, 16)} ${state}`).reverse();
}

/** Minutes in steps, as an hour may hold many timers. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  await clock.advance(ms);
}

test("a function runs at each planned time, with the documented event", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("*/5 * * * *", { body: { report: "daily" } })]);
  await pass(bench.clock, 11 * MINUTE_MS);
  assert.deepEqual(times(bench), ["12:05:00", "12:10:00"]);
  const { path, headers, body, trigger: info } = bench.calls[0]!.invocation;
  assert.equal(path, "/cron");
  assert.deepEqual(headers, { "content-type": "application/json" });
  assert.equal(body.toString(), '{"report":"daily"}');
  assert.deepEqual(info, { type: "cron", schedule: "*/5 * * * *", plannedAt: "2024-01-15T12:05:00.000Z" });
  assert.deepEqual(await states(bench.store), ["12:05 succeeded", "12:10 succeeded"]);
});

test("without a body it is empty", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("* * * * *")]);
  await pass(bench.clock, MINUTE_MS);
  assert.equal(bench.calls[0]!.invocation.body.length, 0);
  assert.deepEqual(bench.calls[0]!.invocation.headers, {});
});

test("a failure is recorded and not repeated", async () => {
  const bench = setUp({ answer: () => ({ ok: false, code: "FUNCTION_ERROR", reason: "no", reachedHandler: true }) });
  await bench.scheduler.start([trigger("0 * * * *")]);
  await pass(bench.clock, 90 * MINUTE_MS);
  assert.deepEqual(await states(bench.store), ["13:00 failed"]);
  assert.equal(bench.calls.length, 1);
  const [run] = await bench.store.listCronRuns("u1", 1);
  assert.deepEqual(run?.failure, { code: "FUNCTION_ERROR", error: "no" });
  assert.equal(run?.requestId, bench.calls[0]?.invocation.requestId);
  assert.deepEqual(bench.warnings, ["cron run failed"]);
});

test("the claim and the hand-over are stored before the call is sent", async () => {
  const bench = setUp();
  const seen: string[] = [];
  bench.answer = async () => {
    seen.push(...(await states(bench.store)));
    return { ok: true };
  };
  await bench.scheduler.start([trigger("0 * * * *")]);
  await pass(bench.clock, 61 * MINUTE_MS);
  assert.deepEqual(seen, ["13:00 handed-over"]);
});

test("zones and changes of clocks: 02:30 runs an hour later once, 01:30 twice on the clock runs once", async () => {
  const spring = setUp({ clock: new ManualClock(Date.UTC(2024, 2, 10, 4)) });
  await spring.scheduler.start([trigger("30 2 * * *", { timezone: "America/New_York" })]);
  await pass(spring.clock, 30 * HOUR_MS);
  assert.deepEqual(
    spring.calls.map(({ plannedAt }) => plannedAt),
    ["2024-03-10T07:30:00.000Z", "2024-03-11T06:30:00.000Z"],
  );
  const autumn = setUp({ clock: new ManualClock(Date.UTC(2024, 10, 3, 4)) });
  await autumn.scheduler.start([trigger("30 1 * * *", { timezone: "America/New_York" })]);
  await pass(autumn.clock, 24 * HOUR_MS);
  assert.deepEqual(
    autumn.calls.map(({ plannedAt }) => plannedAt),
    ["2024-11-03T05:30:00.000Z"],
  );
});

test("updates that leave a trigger alone keep its time; new ones begin, others end", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("*/10 * * * *"), trigger("*/4 * * * *", {}, "u2")]);
  await pass(bench.clock, 5 * MINUTE_MS);
  bench.scheduler.sync([trigger("*/10 * * * *", { body: 7 }), trigger("6 * * * *", {}, "u3")]);
  await pass(bench.clock, 6 * MINUTE_MS);
  assert.deepEqual(
    bench.calls.map(({ uid, plannedAt, invocation }) => `${uid} ${plannedAt.slice(11, 16)} ${invocation.body.toString()}`),
    ["u2 12:04 ", "u3 12:06 ", "u1 12:10 7"],
  );
  bench.scheduler.sync([]);
  await pass(bench.clock, 2 * HOUR_MS);
  assert.equal(bench.calls.length, 3);
  assert.equal(bench.clock.pendingTimers, 0);
});

test("a function deleted and made again with the same trigger is another: nothing of the past counts", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("*/10 * * * *", { missed: "once" })]);
  await pass(bench.clock, 11 * MINUTE_MS);
  bench.scheduler.sync([]);
  await pass(bench.clock, HOUR_MS);
  bench.scheduler.sync([trigger("*/10 * * * *", { missed: "once" }, "u2")]);
  await pass(bench.clock, MINUTE_MS);
  assert.deepEqual(times(bench), ["12:10:00"]);
});

test("overlap: skip leaves out what comes while the function runs, allow does not", async () => {
  const ends: (() => void)[] = [];
  const answer = () => new Promise<CronInvocationResult>((resolve) => ends.push(() => resolve({ ok: true })));
  const bench = setUp({ answer });
  await bench.scheduler.start([trigger("* * * * *", { overlap: "skip" }), trigger("* * * * *", {}, "u2")]);
  await pass(bench.clock, 3 * MINUTE_MS);
  assert.deepEqual(await states(bench.store), ["12:01 handed-over", "12:02 skipped", "12:03 skipped"]);
  assert.deepEqual(await states(bench.store, "u2"), ["12:01 handed-over", "12:02 handed-over", "12:03 handed-over"]);
  for (const end of ends) end();
  await pass(bench.clock, MINUTE_MS);
  assert.deepEqual((await states(bench.store)).slice(-1), ["12:04 handed-over"]);
});

const outages = [
  { why: "58 s late still runs", schedule: "0 * * * *", missed: "skip", backAt: "13:00:58", ran: ["13:00"], stored: ["13:00 succeeded"] },
  {
    why: "only the newest of those runs",
    schedule: "*/20 * * * * *",
    missed: "skip",
    backAt: "13:00:45",
    ran: ["13:00"],
    stored: ["13:00 succeeded"],
  },
  { why: "later counts as missed", schedule: "0 * * * *", missed: "skip", backAt: "15:20:00", ran: [], stored: ["15:00 missed"] },
  {
    why: "one run catches up with all",
    schedule: "0 * * * *",
    missed: "once",
    backAt: "15:20:00",
    ran: ["15:00"],
    stored: ["15:00 succeeded"],
  },
  { why: "nothing was due", schedule: "0 16 * * *", missed: "once", backAt: "15:20:00", ran: [], stored: [] },
] as const;

for (const { why, schedule, missed, backAt, ran, stored } of outages) {
  test(`after an outage until ${backAt}, ${schedule} with missed ${missed}: ${why}`, async () => {
    const before = setUp();
    const desired = { ...trigger(schedule, { missed }), sinceMs: NOON_MS };
    await before.scheduler.start([desired]);
    before.scheduler.sync([]);
    await before.clock.advance(0);
    const { clock, store } = before;
    clock.setWallClock(Date.parse(`2024-01-15T${backAt}Z`));
    const after = setUp({ clock, store });
    await after.scheduler.start([desired]);
    await clock.advance(500);
    assert.deepEqual(
      times(after).map((time) => time.slice(0, 5)),
      ran,
    );
    assert.deepEqual(await states(store), stored);
  });
}

test("what was missed after the last run counts even where nobody says since when the trigger exists", async () => {
  const before = setUp();
  await before.scheduler.start([trigger("0 * * * *", { missed: "once" })]);
  await pass(before.clock, 61 * MINUTE_MS);
  before.scheduler.sync([]);
  before.clock.setWallClock(NOON_MS + 5.5 * HOUR_MS);
  const after = setUp({ clock: before.clock, store: before.store });
  await after.scheduler.start([trigger("0 * * * *", { missed: "once" })]);
  await before.clock.advance(500);
  assert.deepEqual(times(after), ["17:00:00"]);
});

test("a machine that slept wakes up to the same rules", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("0 * * * *"), trigger("0 * * * *", { missed: "once" }, "u2")]);
  await pass(bench.clock, MINUTE_MS);
  bench.clock.setWallClock(NOON_MS + 8.5 * HOUR_MS);
  await pass(bench.clock, 30_000);
  assert.deepEqual(
    bench.calls.map(({ uid, plannedAt }) => `${uid} ${plannedAt.slice(11, 16)}`),
    ["u2 20:00"],
  );
  assert.deepEqual(await states(bench.store), ["20:00 missed"]);
});

test("a clock that goes back repeats nothing, and what it shows for the first time still runs", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("*/10 * * * *")]);
  await pass(bench.clock, 31 * MINUTE_MS);
  bench.clock.setWallClock(NOON_MS + 5 * MINUTE_MS);
  await pass(bench.clock, 40 * MINUTE_MS);
  assert.deepEqual(times(bench), ["12:10:00", "12:20:00", "12:30:00", "12:40:00"]);
  bench.clock.setWallClock(NOON_MS + 20 * 365 * 24 * HOUR_MS);
  await pass(bench.clock, 30_000);
  bench.clock.setWallClock(NOON_MS + 45 * MINUTE_MS);
  await pass(bench.clock, 6 * MINUTE_MS);
  assert.equal(times(bench).at(-1), "12:50:00", "years that never were do not stop it");
});

test("a process that died after the claim: the next one runs it", async () => {
  const before = setUp();
  before.store.handOverCronRun = () => new Promise(() => {});
  await before.scheduler.start([trigger("0 * * * *")]);
  await pass(before.clock, HOUR_MS);
  assert.equal(before.calls.length, 0);
  const after = setUp({ clock: before.clock, store: before.store.restart() });
  await after.scheduler.start([trigger("0 * * * *")]);
  await after.clock.advance(0);
  assert.deepEqual(times(after), ["13:00:00"]);
  assert.deepEqual(await states(after.store), ["13:00 succeeded"]);
});

for (const missed of ["skip", "once"] as const) {
  test(`a process that died after the hand-over, missed ${missed}: interrupted${missed === "once" ? ", and run again" : ""}`, async () => {
    const before = setUp({ answer: () => new Promise(() => {}) });
    await before.scheduler.start([trigger("0 * * * *", { missed })]);
    await pass(before.clock, HOUR_MS);
    assert.equal(before.calls.length, 1);
    const after = setUp({ clock: before.clock, store: before.store.restart() });
    await after.scheduler.start([trigger("0 * * * *", { missed })]);
    await after.clock.advance(0);
    assert.deepEqual(after.warnings, ["cron run interrupted by the end of the server"]);
    assert.deepEqual(times(after), missed === "once" ? ["13:00:00"] : []);
    assert.deepEqual(await states(after.store), [missed === "once" ? "13:00 succeeded" : "13:00 interrupted"]);
  });
}

test("what a trigger that is gone left open ends without a call", async () => {
  const before = setUp({ answer: () => new Promise(() => {}) });
  await before.scheduler.start([trigger("0 * * * *", { missed: "once" })]);
  await pass(before.clock, HOUR_MS);
  const after = setUp({ clock: before.clock, store: before.store.restart() });
  await after.scheduler.start([]);
  await after.clock.advance(0);
  assert.deepEqual(await states(after.store), ["13:00 interrupted"]);
  assert.equal(after.calls.length, 0);
});

test("two schedulers on one store run each planned time once", async () => {
  const one = setUp();
  const two = setUp({ clock: one.clock, store: one.store, calls: one.calls });
  const desired = Array.from({ length: 20 }, (_, index) => trigger("* * * * *", {}, `u${index}`));
  await Promise.all([one.scheduler.start(desired), two.scheduler.start(desired)]);
  await pass(one.clock, 10 * MINUTE_MS);
  const keys = one.calls.map(({ uid, plannedAt }) => `${uid} ${plannedAt}`);
  assert.equal(keys.length, 200);
  assert.equal(new Set(keys).size, 200);
});

test("a store that is away for less than a minute costs no run, for longer it makes it missed", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("0 13 * * *"), trigger("0 14 * * *", {}, "u2")]);
  await pass(bench.clock, 59 * MINUTE_MS);
  bench.store.setWritable(false);
  await pass(bench.clock, MINUTE_MS + 20_000);
  assert.equal(bench.calls.length, 0);
  bench.store.setWritable(true);
  await pass(bench.clock, 20_000);
  assert.deepEqual(await states(bench.store), ["13:00 succeeded"]);
  await pass(bench.clock, 55 * MINUTE_MS);
  bench.store.setWritable(false);
  await pass(bench.clock, 10 * MINUTE_MS);
  bench.store.setWritable(true);
  await pass(bench.clock, 20_000);
  assert.deepEqual(await states(bench.store, "u2"), ["14:00 missed"]);
});

test("stop waits for what runs; what is cut off at the deadline is interrupted at the next start", async () => {
  const ends: ((result: CronInvocationResult) => void)[] = [];
  const answer = (call: Call) =>
    new Promise<CronInvocationResult>((resolve) => {
      ends.push(resolve);
      call.invocation.signal.addEventListener("abort", () =>
        resolve({ ok: false, code: "CLIENT_CLOSED", reason: "", reachedHandler: true }),
      );
    });
  const bench = setUp({ answer });
  await bench.scheduler.start([trigger("0 * * * *"), trigger("0 * * * *", {}, "u2")]);
  await pass(bench.clock, HOUR_MS);
  let stopped = false;
  const stopping = bench.scheduler.stop({ deadlineMs: 5_000 }).then(() => (stopped = true));
  await pass(bench.clock, 1_000);
  ends[0]!({ ok: true });
  await pass(bench.clock, 3_000);
  assert.equal(stopped, false);
  await pass(bench.clock, 2_000);
  await stopping;
  assert.deepEqual(await states(bench.store), ["13:00 succeeded"]);
  assert.deepEqual(await states(bench.store, "u2"), ["13:00 handed-over"]);
  await pass(bench.clock, 3 * HOUR_MS);
  assert.equal(bench.calls.length, 2);
  const after = setUp({ clock: bench.clock, store: bench.store.restart() });
  await after.scheduler.start([trigger("0 * * * *", {}, "u2")]);
  await after.clock.advance(0);
  assert.equal((await states(after.store, "u2"))[0], "13:00 interrupted");
});

test("a run that comes during the drain is claimed by the next process", async () => {
  const bench = setUp({ answer: () => ({ ok: false, code: "DRAINING", reason: "", reachedHandler: false }) });
  await bench.scheduler.start([trigger("0 * * * *")]);
  await pass(bench.clock, 59 * MINUTE_MS);
  await bench.scheduler.stop({ deadlineMs: 1_000 });
  await pass(bench.clock, MINUTE_MS);
  const after = setUp({ clock: bench.clock, store: bench.store.restart() });
  await after.scheduler.start([{ ...trigger("0 * * * *"), sinceMs: NOON_MS }]);
  await after.clock.advance(0);
  assert.deepEqual(await states(after.store), ["13:00 succeeded"]);
});

test("a time further away than a timer can wait (2³¹ ms, 25 days) neither runs at once nor is forgotten", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("0 0 1 3 *")]);
  assert.equal(bench.calls.length, 0);
  bench.clock.setWallClock(Date.UTC(2024, 1, 29, 23, 59, 50));
  await pass(bench.clock, 31_000);
  assert.deepEqual(
    bench.calls.map(({ plannedAt }) => plannedAt),
    ["2024-03-01T00:00:00.000Z"],
  );
});

test("a schedule that cannot be read keeps no other from running", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("not a schedule"), trigger("* * * * *", {}, "u2")]);
  await pass(bench.clock, MINUTE_MS);
  assert.deepEqual(times(bench), ["12:01:00"]);
  assert.deepEqual(bench.warnings, ["cron schedule cannot be read"]);
  assert.deepEqual(bench.errors, []);
});

test("ten thousand triggers have one timer, and all run when their minute comes", async () => {
  const bench = setUp();
  const desired = Array.from({ length: 10_000 }, (_, index) => trigger(index % 2 === 0 ? "*/5 * * * *" : "7 13 * * 1-5", {}, `u${index}`));
  const cpu = process.cpuUsage();
  await bench.scheduler.start(desired);
  assert.equal(bench.clock.pendingTimers, 1);
  await pass(bench.clock, 5 * MINUTE_MS);
  assert.equal(bench.calls.length, 5_000);
  const { user } = process.cpuUsage(cpu);
  assert.ok(user < 5e6, `${user / 1e6} s of CPU, n² would be far more`);
});

test("what comes next is shown", async () => {
  const bench = setUp();
  await bench.scheduler.start([trigger("30 9 * * *", { timezone: "Europe/Berlin" }), trigger("* * * * *", {}, "u2")]);
  assert.deepEqual(bench.scheduler.upcoming("u1"), [
    { schedule: "30 9 * * *", timezone: "Europe/Berlin", nextAtMs: Date.UTC(2024, 0, 16, 8, 30) },
  ]);
});
