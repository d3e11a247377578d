import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ConcurrencyWindow } from "./concurrency-window.ts";
import {
  decidePoke,
  decideReplicas,
  INITIAL_SCALE_STATE,
  type PokeInput,
  type ScaleInput,
  type ScaleReason,
  type ScaleState,
} from "./decide.ts";

const T0 = 10_000_000;

function input(changes: Partial<ScaleInput> & { steady?: number }): ScaleInput {
  const { steady, ...rest } = changes;
  const replicas = rest.replicas ?? 1;
  const load = steady === undefined ? { stable: 0, panic: 0, peak: 0 } : { stable: steady, panic: steady, peak: steady };
  return {
    replicas,
    readyReplicas: replicas,
    minReplicas: 0,
    maxReplicas: 10,
    concurrency: 10,
    inFlight: Math.round(steady ?? 0),
    queued: 0,
    load,
    lastActiveMs: T0,
    state: INITIAL_SCALE_STATE,
    ...rest,
  };
}

const cases: { why: string; given: ScaleInput; to: number; reason: ScaleReason }[] = [
  // Target per replica: 70 % of 10 = 7.
  { why: "14 calls at once need exactly 2", given: input({ replicas: 2, steady: 14 }), to: 2, reason: "load" },
  { why: "15 calls at once need 3", given: input({ replicas: 2, steady: 15 }), to: 3, reason: "load" },
  { why: "Python at concurrency 1: 3 / 0.7 = 4.3", given: input({ replicas: 4, concurrency: 1, steady: 3 }), to: 5, reason: "load" },
  {
    why: "6 s alone need 35 / 7 = 5, twice the 2 that are ready",
    given: input({ replicas: 2, load: { stable: 8, panic: 35, peak: 40 }, inFlight: 20, queued: 15 }),
    to: 5,
    reason: "panic",
  },
  {
    why: "6 s need 21 / 7 = 3, less than twice the 2 that are ready: no panic",
    given: input({ replicas: 2, load: { stable: 8, panic: 21, peak: 25 }, inFlight: 20 }),
    to: 2,
    reason: "hold",
  },
  {
    why: "panic takes nothing away",
    given: input({ replicas: 8, load: { stable: 3, panic: 1, peak: 3 }, inFlight: 1, state: { panicUntilMs: T0 + 5_000, lastDownMs: 0 } }),
    to: 8,
    reason: "panic",
  },
  {
    why: "the busiest second of the minute, 40 / 7 = 5.7, may come again",
    given: input({ replicas: 9, load: { stable: 3, panic: 1, peak: 40 }, inFlight: 1 }),
    to: 6,
    reason: "load",
  },
  {
    why: "the busiest second holds what is there",
    given: input({ replicas: 6, load: { stable: 3, panic: 1, peak: 40 }, inFlight: 1 }),
    to: 6,
    reason: "hold",
  },
  { why: "down by half at most", given: input({ replicas: 9, steady: 1 }), to: 5, reason: "down-rate" },
  {
    why: "the last step down was 4 s ago",
    given: input({ replicas: 5, steady: 1, state: { panicUntilMs: 0, lastDownMs: T0 - 4_000 } }),
    to: 5,
    reason: "down-rate",
  },
  {
    why: "calls that run keep their places: 31 need 4 of 10",
    given: input({ replicas: 5, load: { stable: 1, panic: 1, peak: 1 }, inFlight: 31 }),
    to: 4,
    reason: "load",
  },
  { why: "59.999 s after the last call one stays", given: input({ replicas: 1, lastActiveMs: T0 - 59_999 }), to: 1, reason: "keep-warm" },
  { why: "60 s after the last call it goes", given: input({ replicas: 1, lastActiveMs: T0 - 60_000 }), to: 0, reason: "idle" },
  { why: "idle: all go at once", given: input({ replicas: 7, lastActiveMs: T0 - 60_000 }), to: 0, reason: "idle" },
  {
    why: "idle ends a panic that would last longer",
    given: input({ replicas: 7, lastActiveMs: T0 - 60_000, state: { panicUntilMs: T0 + 9_000, lastDownMs: 0 } }),
    to: 0,
    reason: "idle",
  },
  { why: "a queued call is not idle", given: input({ replicas: 1, queued: 1, lastActiveMs: T0 - 99_000 }), to: 1, reason: "hold" },
  {
    why: "a long call is not idle",
    given: input({ replicas: 1, inFlight: 1, steady: 1, lastActiveMs: T0 - 900_000 }),
    to: 1,
    reason: "load",
  },
  { why: "nothing there, nothing to do", given: input({ replicas: 0, lastActiveMs: 0 }), to: 0, reason: "idle" },
  { why: "calls wait and nothing is there", given: input({ replicas: 0, queued: 3 }), to: 1, reason: "load" },
  { why: "floor", given: input({ replicas: 0, minReplicas: 2, lastActiveMs: 0 }), to: 2, reason: "min-replicas" },
  { why: "idle down to the floor", given: input({ replicas: 5, minReplicas: 2, lastActiveMs: 0 }), to: 2, reason: "idle" },
  { why: "ceiling", given: input({ replicas: 8, steady: 700 }), to: 10, reason: "max-replicas" },
  {
    why: "the ceiling was lowered below what is there",
    given: input({ replicas: 8, maxReplicas: 3, steady: 50 }),
    to: 3,
    reason: "max-replicas",
  },
  { why: "up by 8 or double", given: input({ replicas: 2, maxReplicas: 100, steady: 700 }), to: 10, reason: "up-rate" },
  { why: "double is more than 8 more", given: input({ replicas: 20, maxReplicas: 100, steady: 700 }), to: 40, reason: "up-rate" },
  {
    why: "1.9 of 2 cores are taken: cores and one are enough",
    given: input({ replicas: 2, concurrency: 1, steady: 7, cpu: { usedCores: 1.9, cores: 2 } }),
    to: 3,
    reason: "cpu-bound",
  },
  {
    why: "work that waits may have as many as it wants",
    given: input({ replicas: 2, concurrency: 1, steady: 6.9, cpu: { usedCores: 0.2, cores: 2 } }),
    to: 10,
    reason: "panic",
  },
  {
    why: "a busy machine takes no replica away",
    given: input({ replicas: 6, concurrency: 1, steady: 7, cpu: { usedCores: 2, cores: 2 } }),
    to: 6,
    reason: "cpu-bound",
  },
];

for (const { why, given, to, reason } of cases) {
  test(`${given.replicas} -> ${to}: ${why}`, () => {
    const decision = decideReplicas(given, T0);
    assert.deepEqual({ desired: decision.desired, reason: decision.reason }, { desired: to, reason });
  });
}

function poke(changes: Partial<PokeInput>): PokeInput {
  return { replicas: 0, starting: 0, freeSlots: 0, queued: 1, minReplicas: 0, maxReplicas: 10, concurrency: 10, ...changes };
}

const pokes: { why: string; given: PokeInput; to: number; reason: ScaleReason }[] = [
  { why: "the first call of a cold function", given: poke({}), to: 1, reason: "no-free-slot" },
  { why: "25 calls at once at concurrency 10", given: poke({ queued: 25 }), to: 3, reason: "no-free-slot" },
  {
    why: "the second call finds the start of the first",
    given: poke({ replicas: 1, starting: 1, queued: 2 }),
    to: 1,
    reason: "slots-coming",
  },
  { why: "the eleventh doesn't fit", given: poke({ replicas: 1, starting: 1, queued: 11 }), to: 2, reason: "no-free-slot" },
  {
    why: "500 calls at concurrency 1: one bounded step",
    given: poke({ concurrency: 1, maxReplicas: 100, queued: 500 }),
    to: 8,
    reason: "up-rate",
  },
  { why: "the ceiling", given: poke({ concurrency: 1, replicas: 10, queued: 5 }), to: 10, reason: "max-replicas" },
  { why: "Python's second call at once", given: poke({ concurrency: 1, replicas: 1 }), to: 2, reason: "no-free-slot" },
  {
    // 20 × 2 ms on 2 × 2 slots are 10 ms, a start takes 40.
    why: "short calls are done before a start would be",
    given: poke({ concurrency: 2, replicas: 2, queued: 20, callMs: 2, startMs: 40 }),
    to: 2,
    reason: "queue-drains-sooner",
  },
  {
    why: "long calls are not",
    given: poke({ concurrency: 2, replicas: 2, queued: 2, callMs: 900, startMs: 40 }),
    to: 3,
    reason: "no-free-slot",
  },
  { why: "a known call time starts nothing less from zero", given: poke({ callMs: 1, startMs: 40 }), to: 1, reason: "no-free-slot" },
  {
    why: "all cores are taken",
    given: poke({ concurrency: 1, replicas: 3, queued: 9, cpu: { usedCores: 2, cores: 2 } }),
    to: 3,
    reason: "cpu-bound",
  },
];

for (const { why, given, to, reason } of pokes) {
  test(`poke ${given.replicas} -> ${to}: ${why}`, () => {
    const decision = decidePoke(given);
    assert.deepEqual({ desired: decision.desired, reason: decision.reason }, { desired: to, reason });
  });
}

const amount = fc.double({ min: 0, max: 500, noNaN: true });
const anyInput = fc
  .record({
    replicas: fc.nat(40),
    minReplicas: fc.nat(5),
    extra: fc.integer({ min: 1, max: 40 }),
    concurrency: fc.integer({ min: 1, max: 100 }),
    inFlight: fc.nat(200),
    queued: fc.nat(200),
    stable: amount,
    panic: amount,
    peak: amount,
    idleMs: fc.nat(200_000),
    panicInMs: fc.integer({ min: -50_000, max: 50_000 }),
    downAgoMs: fc.nat(50_000),
    usedCores: fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { nil: undefined }),
  })
  .map(
    (any): ScaleInput => ({
      replicas: any.replicas,
      readyReplicas: any.replicas,
      minReplicas: any.minReplicas,
      maxReplicas: any.minReplicas + any.extra,
      concurrency: any.concurrency,
      inFlight: any.inFlight,
      queued: any.queued,
      load: { stable: any.stable, panic: any.panic, peak: any.peak },
      lastActiveMs: T0 - any.idleMs,
      state: { panicUntilMs: T0 + any.panicInMs, lastDownMs: T0 - any.downAgoMs },
      ...(any.usedCores === undefined ? {} : { cpu: { usedCores: any.usedCores, cores: 2 } }),
    }),
  );

test("always a whole number within floor and ceiling", () => {
  fc.assert(
    fc.property(anyInput, (given) => {
      const { desired } = decideReplicas(given, T0);
      assert.ok(Number.isInteger(desired) && desired >= given.minReplicas && desired <= given.maxReplicas);
    }),
  );
});

test("idle long enough always ends at the floor, and only idle work is taken to zero", () => {
  fc.assert(
    fc.property(anyInput, (given) => {
      const idle = decideReplicas({ ...given, inFlight: 0, queued: 0, lastActiveMs: T0 - 60_000 }, T0);
      assert.equal(idle.desired, given.minReplicas);
      const busy = decideReplicas({ ...given, inFlight: given.inFlight + 1 }, T0);
      if (given.replicas > 0) assert.ok(busy.desired > 0);
    }),
  );
});

test("more load never asks for fewer replicas", () => {
  fc.assert(
    fc.property(anyInput, amount, amount, amount, fc.nat(100), (given, stable, panic, peak, calls) => {
      const less = { ...given, inFlight: given.inFlight + 1 };
      const more = {
        ...less,
        inFlight: less.inFlight + calls,
        load: { stable: given.load.stable + stable, panic: given.load.panic + panic, peak: given.load.peak + peak },
      };
      assert.ok(decideReplicas(less, T0).desired <= decideReplicas(more, T0).desired);
    }),
  );
});

test("a poke never takes away and stays within the ceiling", () => {
  const anyPoke = fc.record({
    replicas: fc.nat(10),
    starting: fc.nat(10),
    freeSlots: fc.nat(10),
    queued: fc.nat(1_000),
    minReplicas: fc.constant(0),
    maxReplicas: fc.integer({ min: 10, max: 20 }),
    concurrency: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(anyPoke, (given) => {
      const { desired } = decidePoke(given);
      assert.ok(desired >= given.replicas && desired <= given.maxReplicas);
    }),
  );
});

/** Feeds the scaler a load over time, as the loop does once a second, every wish fulfilled at once. */
function simulate(loadAt: (second: number) => number, seconds: number, concurrency = 10): number[] {
  const window = new ConcurrencyWindow(0);
  let state: ScaleState = INITIAL_SCALE_STATE;
  let replicas = 1;
  let lastActiveMs = 0;
  const seen: number[] = [];
  for (let second = 0; second < seconds; second++) {
    const calls = loadAt(second);
    window.record(calls, second * 1_000);
    const nowMs = (second + 1) * 1_000;
    if (calls > 0) lastActiveMs = nowMs;
    const given = input({ replicas, concurrency, maxReplicas: 50, inFlight: calls, load: window.summarise(nowMs), lastActiveMs, state });
    const decision = decideReplicas(given, nowMs);
    state = decision.state;
    replicas = decision.desired;
    seen.push(replicas);
  }
  return seen;
}

function turns(seen: readonly number[]): number {
  let count = 0;
  let direction = 0;
  for (let i = 1; i < seen.length; i++) {
    const step = Math.sign(seen[i]! - seen[i - 1]!);
    if (step !== 0 && direction !== 0 && step !== direction) count++;
    if (step !== 0) direction = step;
  }
  return count;
}

test("a load that switches on and off every 10 s does not flap", () => {
  const seen = simulate((second) => (Math.floor(second / 10) % 2 === 0 ? 100 : 0), 600);
  assert.equal(turns(seen), 0, seen.join(" "));
});

test("a burst comes up within 7 s, and goes down in steps to one, then to zero", () => {
  const seen = simulate((second) => (second < 30 ? 1 : second < 60 ? 200 : second < 200 ? 1 : 0), 300);
  // 200 / 7 = 29 replicas.
  assert.ok(seen[36]! >= 28, `after 7 s of the burst: ${seen[36]}`);
  assert.equal(turns(seen), 1, seen.join(" "));
  assert.equal(seen[199], 1);
  assert.equal(seen[258], 1);
  assert.equal(seen[259], 0);
  const down = seen.slice(60, 200).filter((replicas, index, all) => index > 0 && replicas !== all[index - 1]);
  assert.deepEqual(down, [15, 8, 4, 2, 1]);
});
