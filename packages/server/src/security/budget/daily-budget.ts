const DAY_MS = 86_400_000;
// A clock that is set back a little about midnight must not begin the old day anew, with a full budget.
const CLOCK_STEP_MS = 3_600_000;
const WARNING_SHARE = 0.8;

/** What a function has used since it was made: the figures behind its cost estimate. */
export interface Usage {
  readonly gbSeconds: number;
  readonly invocations: number;
}

/** Prices of usage, in US dollars. */
export interface UsagePrices {
  readonly perGbSecond: number;
  readonly perInvocation: number;
}

/** Where a day (UTC) began: what was used since is the day's. Kept over restarts. */
export interface BudgetDay {
  startMs: number;
  usageAtStart: Usage;
  /** What was told of this day already. */
  told: "nothing" | "nearly-spent" | "spent";
}

/** The day that it is now: the one given, unless it is over. */
export function rollOver(day: BudgetDay | undefined, usage: Usage, nowMs: number): BudgetDay {
  const isToday = day !== undefined && nowMs >= day.startMs - CLOCK_STEP_MS && nowMs < day.startMs + DAY_MS;
  // Less than before: the counters were lost, and begin again at zero.
  if (isToday && usage.gbSeconds >= day.usageAtStart.gbSeconds && usage.invocations >= day.usageAtStart.invocations) return day;
  const startMs = Math.floor(nowMs / DAY_MS) * DAY_MS;
  if (isToday) return { ...day, usageAtStart: { gbSeconds: 0, invocations: 0 } };
  return { startMs, usageAtStart: { gbSeconds: usage.gbSeconds, invocations: usage.invocations }, told: "nothing" };
}

/** hot: US dollars of the day so far. */
export function spentUsd(day: BudgetDay, usage: Usage, prices: UsagePrices): number {
  const { gbSeconds, invocations } = day.usageAtStart;
  return (usage.gbSeconds - gbSeconds) * prices.perGbSecond + (usage.invocations - invocations) * prices.perInvocation;
}

/** How long until the day's end, when there is a budget again. */
export function untilNextDayMs(day: BudgetDay, nowMs: number): number {
  return Math.max(1, day.startMs + DAY_MS - nowMs);
}

/** What is to be told now, once a day each, and again when a raised budget is used up anew. */
export function decideTold(spent: number, perDayUsd: number): BudgetDay["told"] {
  if (spent >= perDayUsd) return "spent";
  return spent >= perDayUsd * WARNING_SHARE ? "nearly-spent" : "nothing";
}
