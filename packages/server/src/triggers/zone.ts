/** A stretch of time in which a zone's clocks keep the same distance from UTC. */
export interface ZoneSpan {
  /** First instant, at the earliest that of the year. */
  startMs: number;
  /** First instant of the next one. */
  endMs: number;
  /** Local time minus UTC. */
  offsetMs: number;
  /** Of the span before; equal to `offsetMs` where no clock was changed at `startMs`. */
  previousOffsetMs: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

interface ClockChange {
  atMs: number;
  /** From then on. */
  offsetMs: number;
}

/** Clock changes of one time zone, found year by year as they are asked for. */
export class Zone {
  readonly #format: Intl.DateTimeFormat;
  readonly #isUtc: boolean;
  readonly #byYear = new Map<number, readonly ClockChange[]>();

  /** @throws RangeError for a name that is no zone */
  constructor(name: string) {
    this.#format = new Intl.DateTimeFormat("en-US", { timeZone: name, timeZoneName: "longOffset" });
    this.#isUtc = this.#format.resolvedOptions().timeZone === "UTC";
  }

  /** The span that holds an instant, cut where a year begins. */
  spanAt(atMs: number): ZoneSpan {
    if (this.#isUtc) return { startMs: Number.NEGATIVE_INFINITY, endMs: Number.POSITIVE_INFINITY, offsetMs: 0, previousOffsetMs: 0 };
    const year = new Date(atMs).getUTCFullYear();
    const before = this.#changesOf(year - 1);
    const known = [...before, ...this.#changesOf(year), ...this.#changesOf(year + 1)];
    const current = known.findLastIndex((change) => change.atMs <= atMs);
    const { atMs: startMs, offsetMs } = known[current]!;
    return { startMs, offsetMs, endMs: known[current + 1]!.atMs, previousOffsetMs: known[current - 1]!.offsetMs };
  }

  /** The year's first instant, then its changes. */
  #changesOf(year: number): readonly ClockChange[] {
    let changes = this.#byYear.get(year);
    if (changes === undefined) {
      changes = this.#findChanges(Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1));
      this.#byYear.set(year, changes);
    }
    return changes;
  }

  #findChanges(fromMs: number, untilMs: number): ClockChange[] {
    let offsetMs = this.#offsetAt(fromMs);
    const changes: ClockChange[] = [{ atMs: fromMs, offsetMs }];
    for (let dayMs = fromMs; dayMs < untilMs; dayMs += DAY_MS) {
      const endMs = Math.min(dayMs + DAY_MS, untilMs - 1);
      const after = this.#offsetAt(endMs);
      if (after !== offsetMs) changes.push({ atMs: this.#bisect(dayMs, endMs, offsetMs), offsetMs: after });
      offsetMs = after;
    }
    return changes;
  }

  /** First instant after `lowMs` at which the offset is not `before` any more. */
  #bisect(lowMs: number, highMs: number, before: number): number {
    let low = lowMs;
    let high = highMs;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#offsetAt(middle) === before) low = middle;
      else high = middle;
    }
    return high;
  }

  #offsetAt(atMs: number): number {
    const match = /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(this.#format.format(atMs));
    if (match?.[1] === undefined) return 0;
    const size = (Number(match[2]) * 60 + Number(match[3])) * MINUTE_MS + Number(match[4] ?? 0) * 1_000;
    return match[1] === "-" ? -size : size;
  }
}

const zones = new Map<string, Zone>();

/** The zone of that name; there are a few hundred, so that each is kept. @throws RangeError */
export function findZone(name: string): Zone {
  let zone = zones.get(name);
  if (zone === undefined) {
    zone = new Zone(name);
    if (zones.size < 1_000) zones.set(name, zone);
  }
  return zone;
}
