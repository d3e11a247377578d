import type { CronSchedule } from "./cron-schedule.ts";

/** So late a planned time still runs; what is later counts as missed. */
export const LATEST_MS = 60_000;

/** What a trigger's planned times ask for now, and the next one after that. */
export type Due = { nextAtMs: number | undefined } & (
  | { kind: "wait" }
  /** `catchUp`: it is later than `LATEST_MS`, and wanted all the same. */
  | { kind: "run"; plannedAtMs: number; catchUp: boolean }
  | { kind: "missed"; plannedAtMs: number }
);

/** Of all planned times that have come, only the newest counts: it runs, or it is missed. */
export function decideDue(schedule: CronSchedule, nextAtMs: number | undefined, nowMs: number, missed: "skip" | "once"): Due {
  if (nextAtMs === undefined || nextAtMs > nowMs) return { kind: "wait", nextAtMs };
  const following = schedule.nextAfter(nextAtMs);
  if (following === undefined || following > nowMs) return judge(nextAtMs, following, nowMs, missed);
  const newest = schedule.newestUpTo(nowMs, nextAtMs) ?? following;
  return judge(newest, schedule.nextAfter(newest), nowMs, missed);
}

function judge(plannedAtMs: number, nextAtMs: number | undefined, nowMs: number, missed: "skip" | "once"): Due {
  const isLate = nowMs - plannedAtMs > LATEST_MS;
  if (isLate && missed === "skip") return { kind: "missed", plannedAtMs, nextAtMs };
  return { kind: "run", plannedAtMs, nextAtMs, catchUp: isLate };
}
