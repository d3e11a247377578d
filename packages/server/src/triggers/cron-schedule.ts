import { Cron } from "croner";
import { explainFields } from "./cron-fields.ts";
import { findZone, type Zone, type ZoneSpan } from "./zone.ts";

/** When a cron trigger runs. */
export interface CronSchedule {
  /** First planned time after an instant; undefined when none comes any more. */
  nextAfter(atMs: number): number | undefined;
  /** Newest planned time up to `atMs` that is after `afterMs`; undefined when there is none. */
  newestUpTo(atMs: number, afterMs: number): number | undefined;
}

const NICKNAME = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$/i;
/** Any time does: schedules name no year. */
const REFERENCE_MS = Date.UTC(2024, 0, 1);
const MODE = "5-or-6-parts";

/** What is wrong with a schedule, for its author; undefined when nothing is. */
export function validateCronSchedule(schedule: string, timezone = "UTC"): string | undefined {
  try {
    findZone(timezone);
  } catch {
    return `unknown time zone '${timezone}': use a name of the IANA database, such as Europe/Berlin`;
  }
  const shape = validateShape(schedule.trim());
  if (shape !== undefined) return shape;
  if (!canRead(schedule)) return explainFields(schedule, canRead) ?? `the schedule '${schedule}' is not valid`;
  const comes = parseCronSchedule(schedule, timezone).nextAfter(REFERENCE_MS) !== undefined;
  return comes ? undefined : `the schedule '${schedule}' names a time that never comes`;
}

function canRead(schedule: string): boolean {
  try {
    parseCronSchedule(schedule);
    return true;
  } catch {
    return false;
  }
}

/**
 * Reads a schedule of 5 fields, 6 with seconds, or a nickname such as `@hourly`. Day of month and weekday are OR.
 * Where clocks are set forward, a time that does not exist runs as much later as they skip (02:30 at 03:30); where they
 * are set back, a time that comes twice runs the first time. A schedule of every hour runs on through both.
 * @throws what croner throws for a schedule that `validateCronSchedule` finds invalid
 */
export function parseCronSchedule(schedule: string, timezone = "UTC"): CronSchedule {
  // `utcOffset: 0` is what `timezone: "UTC"` says, without formatting a date at every step: a tenth of the time.
  const cron = new Cron(schedule, { paused: true, utcOffset: 0, mode: MODE });
  return new ZonedSchedule(cron, namesEveryHour(schedule), findZone(timezone));
}

/** Parsed schedules take 80 KiB each, so that only those in use are kept. */
const MAX_PARSED = 100;
const parsed = new Map<string, CronSchedule>();

/** The same as `parseCronSchedule`, kept for the next time. */
export function findCronSchedule(schedule: string, timezone: string): CronSchedule {
  const key = `${timezone} ${schedule}`;
  const found = parsed.get(key) ?? parseCronSchedule(schedule, timezone);
  parsed.delete(key);
  parsed.set(key, found);
  if (parsed.size > MAX_PARSED) parsed.delete(parsed.keys().next().value!);
  return found;
}

function namesEveryHour(schedule: string): boolean {
  const hour = schedule.trim().split(/\s+/).at(-4);
  return /^@hourly$/i.test(schedule.trim()) || (hour !== undefined && /^(\*(\/1)?|0-23)$/.test(hour));
}

function validateShape(schedule: string): string | undefined {
  if (schedule.startsWith("@")) {
    if (NICKNAME.test(schedule)) return undefined;
    return `unknown nickname '${schedule}': there are @yearly, @monthly, @weekly, @daily and @hourly`;
  }
  const fields = schedule === "" ? 0 : schedule.split(/\s+/).length;
  if (fields === 5 || fields === 6) return undefined;
  return `a schedule has 5 fields (minute, hour, day of month, month, weekday), or 6 with seconds first; '${schedule}' has ${fields}`;
}

/** Local times are computed as if they were UTC, which has no changes of clocks, and placed on the zone's spans here. */
class ZonedSchedule implements CronSchedule {
  readonly #cron: Cron;
  readonly #runsEveryHour: boolean;
  readonly #zone: Zone;

  constructor(cron: Cron, runsEveryHour: boolean, zone: Zone) {
    this.#cron = cron;
    this.#runsEveryHour = runsEveryHour;
    this.#zone = zone;
  }

  nextAfter(atMs: number): number | undefined {
    let afterMs = atMs;
    for (;;) {
      // A planned time may be the first instant of a span, so that the search begins one millisecond before.
      const span = this.#zone.spanAt(afterMs + 1);
      const foundMs = this.#nextWithin(span, afterMs);
      if (foundMs < span.endMs) return foundMs;
      // Nothing beyond, by the clocks of before or after, is nothing ever.
      if (foundMs === Number.POSITIVE_INFINITY) return undefined;
      afterMs = span.endMs - 1;
    }
  }

  newestUpTo(atMs: number, afterMs: number): number | undefined {
    const first = this.nextAfter(afterMs);
    if (first === undefined || first > atMs) return undefined;
    let newest = first;
    let beyond = atMs;
    // Of a year of seconds, the newest is found in 35 steps.
    while (beyond - newest > 1) {
      const middle = Math.floor((newest + beyond) / 2);
      const next = this.nextAfter(middle) ?? Number.POSITIVE_INFINITY;
      if (next <= atMs) newest = next;
      else beyond = middle;
    }
    return (this.nextAfter(newest) ?? Number.POSITIVE_INFINITY) <= atMs ? this.nextAfter(newest) : newest;
  }

  /** First planned time after `afterMs` as this span's clocks have it; it counts only if it is within the span. */
  #nextWithin(span: ZoneSpan, afterMs: number): number {
    const skippedMs = span.offsetMs - span.previousOffsetMs;
    if (this.#runsEveryHour || skippedMs === 0) return this.#nextLocal(afterMs + span.offsetMs) - span.offsetMs;
    if (skippedMs < 0) {
      // Clocks were set back: what they show a second time has been.
      const repeatedUntilMs = span.startMs - skippedMs;
      return this.#nextLocal(Math.max(afterMs, repeatedUntilMs - 1) + span.offsetMs) - span.offsetMs;
    }
    const existing = this.#nextLocal(afterMs + span.offsetMs) - span.offsetMs;
    // Clocks were set forward: what they skipped comes by the clocks of before.
    const skipped = this.#nextLocal(afterMs + span.previousOffsetMs) - span.previousOffsetMs;
    return skipped < span.startMs + skippedMs ? Math.min(existing, skipped) : existing;
  }

  #nextLocal(localMs: number): number {
    return this.#cron.nextRun(new Date(localMs))?.getTime() ?? Number.POSITIVE_INFINITY;
  }
}
