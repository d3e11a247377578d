import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findCronSchedule, parseCronSchedule, validateCronSchedule } from "./cron-schedule.ts";

const NEW_YORK = "America/New_York";
const BERLIN = "Europe/Berlin";
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

function runs(schedule: string, timezone: string, from: string, count: number): string[] {
  const parsed = parseCronSchedule(schedule, timezone);
  const found: string[] = [];
  for (let atMs = Date.parse(from); found.length < count; ) {
    const next = parsed.nextAfter(atMs);
    if (next === undefined) break;
    found.push(new Date(next).toISOString().slice(0, 19));
    atMs = next;
  }
  return found;
}

const cases: { why: string; schedule: string; zone: string; from: string; expected: string[] }[] = [
  {
    why: "every five minutes",
    schedule: "*/5 * * * *",
    zone: "UTC",
    from: "2024-01-15T10:30:00Z",
    expected: ["2024-01-15T10:35:00", "2024-01-15T10:40:00"],
  },
  {
    why: "seconds",
    schedule: "*/20 * * * * *",
    zone: "UTC",
    from: "2024-01-15T10:30:59Z",
    expected: ["2024-01-15T10:31:00", "2024-01-15T10:31:20"],
  },
  {
    why: "a nickname",
    schedule: "@hourly",
    zone: "UTC",
    from: "2024-01-15T10:30:00Z",
    expected: ["2024-01-15T11:00:00", "2024-01-15T12:00:00"],
  },
  {
    // 13 September 2024 is a Friday: OR gives every Friday, and the 13th.
    why: "day of month or weekday",
    schedule: "0 0 13 * 5",
    zone: "UTC",
    from: "2024-10-10T00:00:00Z",
    expected: ["2024-10-11T00:00:00", "2024-10-13T00:00:00", "2024-10-18T00:00:00"],
  },
  {
    why: "a leap day",
    schedule: "0 0 29 2 *",
    zone: "UTC",
    from: "2025-01-01T00:00:00Z",
    expected: ["2028-02-29T00:00:00", "2032-02-29T00:00:00"],
  },
  { why: "a leap day, in a zone", schedule: "0 0 29 2 *", zone: BERLIN, from: "2025-01-01T00:00:00Z", expected: ["2028-02-28T23:00:00"] },
  {
    why: "02:30 does not exist in New York that night: an hour later, at 03:30",
    schedule: "30 2 * * *",
    zone: NEW_YORK,
    from: "2024-03-09T12:00:00Z",
    expected: ["2024-03-10T07:30:00", "2024-03-11T06:30:00"],
  },
  {
    why: "02:00 the same, at 03:00",
    schedule: "0 2 * * *",
    zone: NEW_YORK,
    from: "2024-03-09T12:00:00Z",
    expected: ["2024-03-10T07:00:00", "2024-03-11T06:00:00"],
  },
  {
    why: "02:30 does not exist in Berlin that night",
    schedule: "30 2 * * *",
    zone: BERLIN,
    from: "2024-03-30T12:00:00Z",
    expected: ["2024-03-31T01:30:00", "2024-04-01T00:30:00"],
  },
  {
    why: "a time that the gap moves onto another one runs once",
    schedule: "30 1,2,3 * * *",
    zone: NEW_YORK,
    from: "2024-03-10T00:00:00Z",
    expected: ["2024-03-10T06:30:00", "2024-03-10T07:30:00", "2024-03-11T05:30:00"],
  },
  {
    why: "01:30 comes twice in New York that night: the first one alone",
    schedule: "30 1 * * *",
    zone: NEW_YORK,
    from: "2024-11-02T12:00:00Z",
    expected: ["2024-11-03T05:30:00", "2024-11-04T06:30:00"],
  },
  {
    why: "02:30 comes twice in Berlin that night",
    schedule: "*/30 2 * * *",
    zone: BERLIN,
    from: "2024-10-26T12:00:00Z",
    expected: ["2024-10-27T00:00:00", "2024-10-27T00:30:00", "2024-10-28T01:00:00"],
  },
  {
    why: "every half hour goes on through the overlap",
    schedule: "*/30 * * * *",
    zone: NEW_YORK,
    from: "2024-11-03T05:00:00Z",
    expected: ["2024-11-03T05:30:00", "2024-11-03T06:00:00", "2024-11-03T06:30:00", "2024-11-03T07:00:00"],
  },
  {
    why: "every half hour goes on through the gap",
    schedule: "*/30 * * * *",
    zone: NEW_YORK,
    from: "2024-03-10T06:00:00Z",
    expected: ["2024-03-10T06:30:00", "2024-03-10T07:00:00", "2024-03-10T07:30:00"],
  },
  {
    why: "a day that an island skipped whole comes a day later",
    schedule: "0 12 * * *",
    zone: "Pacific/Apia",
    from: "2011-12-29T00:00:00Z",
    // 29 December 12:00 at −10; the 30th did not exist; the 31st 12:00 at +14.
    expected: ["2011-12-29T22:00:00", "2011-12-30T22:00:00", "2011-12-31T22:00:00"],
  },
];

for (const { why, schedule, zone, from, expected } of cases) {
  test(`${schedule} in ${zone}: ${why}`, () => {
    assert.deepEqual(runs(schedule, zone, from, expected.length), expected);
  });
}

const bad: { schedule: string; zone?: string; says: RegExp }[] = [
  { schedule: "", says: /5 fields .* has 0/ },
  { schedule: "* * * *", says: /has 4/ },
  { schedule: "* * * * * * *", says: /has 7/ },
  { schedule: "2024-05-01T00:00:00", says: /5 fields/ },
  { schedule: "2024-05-01 00:00:00", says: /5 fields/ },
  { schedule: "0 0 30 2 *", says: /never comes/ },
  { schedule: "0 0 31 4,6 *", says: /never comes/ },
  { schedule: "61 * * * *", says: /^the minute '61' is not valid: it takes 0 to 59, / },
  { schedule: "61 * * * * *", says: /^the second '61' is not valid/ },
  { schedule: "* 24 * * *", says: /^the hour '24' is not valid: it takes 0 to 23, / },
  { schedule: "0 0 0 * *", says: /^the day of month '0' is not valid: it takes 1 to 31, / },
  { schedule: "0 0 1-40 * *", says: /^the day of month '1-40' is not valid/ },
  { schedule: "* * * 0 *", says: /^the month '0' is not valid: it takes 1 to 12 or JAN to DEC, / },
  { schedule: "* * * 13 *", says: /^the month '13' is not valid/ },
  { schedule: "* * * * MON-FRY", says: /^the weekday 'MON-FRY' is not valid: it takes 0 to 7 or SUN to SAT, / },
  { schedule: "*/0 * * * *", says: /^the minute '\*\/0' is not valid/ },
  { schedule: "5-1 * * * *", says: /^the minute '5-1' is not valid/ },
  { schedule: "a b c d e", says: /^the minute 'a' is not valid/ },
  { schedule: "@reboot", says: /unknown nickname/ },
  { schedule: "@every 5m", says: /unknown nickname/ },
  { schedule: "* * * * *", zone: "Mars/Base", says: /unknown time zone 'Mars\/Base'/ },
  { schedule: "* * * * *", zone: "", says: /unknown time zone/ },
];

for (const { schedule, zone, says } of bad) {
  test(`'${schedule}'${zone === undefined ? "" : ` in '${zone}'`} is refused, saying why`, () => {
    assert.match(validateCronSchedule(schedule, zone) ?? "nothing", says);
  });
}

test("what is good is taken", () => {
  const good = [
    "*/5 * * * *",
    "0 0 * * MON-FRI",
    "0 9 1 JAN *",
    "@daily",
    "@YEARLY",
    "  0   12 * * 7 ",
    "30 */2 * * * *",
    "0 0 29 2 *",
    "0 0 L * *",
  ];
  for (const schedule of good) assert.equal(validateCronSchedule(schedule, BERLIN), undefined, schedule);
});

/** Local fields of an instant, found in another way than the schedule finds them. */
function localMinute(formatter: Intl.DateTimeFormat, atMs: number): number {
  const parts = new Map(formatter.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(parts.get("year")!, parts.get("month")! - 1, parts.get("day"), parts.get("hour"), parts.get("minute"));
}

interface Fields {
  minutes: number[];
  /** Undefined: every hour. */
  hours: number[] | undefined;
}

/** Every local minute of some days, in turn, placed on the instants that show it. */
function bruteForce(fields: Fields, zone: string, fromMs: number, untilMs: number): number[] {
  const formatter = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  const instants = new Map<number, number[]>();
  for (let atMs = fromMs - 24 * HOUR_MS; atMs < untilMs + 24 * HOUR_MS; atMs += MINUTE_MS) {
    const local = localMinute(formatter, atMs);
    instants.set(local, [...(instants.get(local) ?? []), atMs]);
  }
  const found = new Set<number>();
  const localFromMs = localMinute(formatter, fromMs - 12 * HOUR_MS);
  for (let local = localFromMs; local < localFromMs + (untilMs - fromMs) + 24 * HOUR_MS; local += MINUTE_MS) {
    const date = new Date(local);
    if (!fields.minutes.includes(date.getUTCMinutes())) continue;
    const shown = instants.get(local) ?? [];
    if (fields.hours === undefined) {
      for (const atMs of shown) found.add(atMs);
    } else if (fields.hours.includes(date.getUTCHours())) {
      // Not shown at all: as far after the last minute that was as by the clocks of before.
      let before = local;
      while (shown.length === 0 && !instants.has(before)) before -= MINUTE_MS;
      found.add(shown[0] ?? instants.get(before)!.at(-1)! + (local - before));
    }
  }
  return [...found].filter((atMs) => atMs > fromMs && atMs <= untilMs).sort((a, b) => a - b);
}

const changes = [
  { zone: NEW_YORK, at: "2024-03-10T07:00:00Z" },
  { zone: NEW_YORK, at: "2024-11-03T06:00:00Z" },
  { zone: BERLIN, at: "2024-03-31T01:00:00Z" },
  { zone: BERLIN, at: "2024-10-27T01:00:00Z" },
  { zone: "Australia/Lord_Howe", at: "2024-10-05T15:30:00Z" },
  { zone: "Australia/Lord_Howe", at: "2024-04-06T15:00:00Z" },
  { zone: "Asia/Kathmandu", at: "2024-06-01T00:00:00Z" },
];

test("agrees with a brute-force model around every change of clocks", () => {
  const anyFields = fc.record({
    minutes: fc.uniqueArray(fc.nat(59), { minLength: 1, maxLength: 4 }),
    hours: fc.option(fc.uniqueArray(fc.oneof(fc.integer({ min: 0, max: 4 }), fc.nat(23)), { minLength: 1, maxLength: 5 }), {
      nil: undefined,
    }),
  });
  fc.assert(
    fc.property(fc.constantFrom(...changes), anyFields, fc.integer({ min: -300, max: 300 }), ({ zone, at }, fields, offsetMinutes) => {
      const fromMs = Date.parse(at) - 5 * HOUR_MS + offsetMinutes * MINUTE_MS;
      const untilMs = fromMs + 12 * HOUR_MS;
      const schedule = parseCronSchedule(`${fields.minutes.join(",")} ${fields.hours?.join(",") ?? "*"} * * *`, zone);
      const found: number[] = [];
      for (let next = schedule.nextAfter(fromMs); next !== undefined && next <= untilMs; next = schedule.nextAfter(next)) found.push(next);
      const show = (all: number[]) => all.map((each) => new Date(each).toISOString());
      assert.deepEqual(show(found), show(bruteForce(fields, zone, fromMs, untilMs)));
    }),
    { numRuns: 60 },
  );
});

test("the newest planned time of a stretch is the last of its walk", () => {
  const when = fc.integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2025, 0, 1) });
  const schedules = fc.constantFrom("*/7 * * * *", "30 1,2 * * *", "0 0 1 * *", "15 10 * * 1-5", "*/20 * * * * *");
  fc.assert(
    fc.property(schedules, fc.constantFrom(NEW_YORK, BERLIN, "UTC"), when, fc.nat(6 * HOUR_MS), (text, zone, afterMs, lengthMs) => {
      const schedule = parseCronSchedule(text, zone);
      let last: number | undefined;
      for (let next = schedule.nextAfter(afterMs); next !== undefined && next <= afterMs + lengthMs; next = schedule.nextAfter(next))
        last = next;
      assert.equal(schedule.newestUpTo(afterMs + lengthMs, afterMs), last);
    }),
    { numRuns: 100 },
  );
});

test("a year of seconds is passed over in a moment", () => {
  const schedule = parseCronSchedule("* * * * * *", NEW_YORK);
  const untilMs = Date.UTC(2025, 0, 1) + 499;
  assert.equal(schedule.newestUpTo(untilMs, Date.UTC(2024, 0, 1)), Date.UTC(2025, 0, 1));
});

test("parsed schedules are shared", () => {
  assert.equal(findCronSchedule("*/5 * * * *", BERLIN), findCronSchedule("*/5 * * * *", BERLIN));
  assert.notEqual(findCronSchedule("*/5 * * * *", BERLIN), findCronSchedule("*/5 * * * *", NEW_YORK));
});
