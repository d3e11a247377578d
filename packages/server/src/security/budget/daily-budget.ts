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

export type BudgetLevel = "nothing" | "nearly-spent" | "spent";

/** Where a day (UTC) began: what was used since is the day's. Kept over restarts. */
export interface BudgetDay {
  startMs: number;
  usageAtStart: Usage;
  /** What was told of this day already … */
  told: BudgetLevel;
  /** … and of which budget; undefined: of none yet. */
  toldPerDayUsd?: number;
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

const LEVELS: readonly BudgetLevel[] = ["nothing", "nearly-spent", "spent"];

/**
 * hot: what the day has told now, and the news in that: each level once a day, and again where a raised budget is used up anew. Counters
 * that a crash has set back by a moment are no news when they come there again. The same day: nothing has changed.
 */
export function decideTold(day: BudgetDay, spent: number, perDayUsd: number): { day: BudgetDay; news: BudgetLevel | undefined } {
  const level = levelOf(spent, perDayUsd);
  const isHigher = LEVELS.indexOf(level) > LEVELS.indexOf(day.told);
  const isOfThisBudget = day.told === "nothing" || day.toldPerDayUsd === perDayUsd;
  if (!isHigher && isOfThisBudget) return { day, news: undefined };
  return { day: { ...day, told: level, toldPerDayUsd: perDayUsd }, news: isHigher ? level : undefined };
}

function levelOf(spent: number, perDayUsd: number): BudgetLevel {
  if (spent >= perDayUsd) return "spent";
  return spent >= perDayUsd * WARNING_SHARE ? "nearly-spent" : "nothing";
}
