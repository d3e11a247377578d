import type { CronBody } from "@kube-serverless/contracts";
import { defined } from "../defined.ts";
import type { CronRun } from "../store/port.ts";
import type { UpcomingCronRun } from "./cron.ts";
import { readCronTriggerId } from "./trigger-id.ts";

/** What a function's cron triggers will do and have done, for its user. */
export function buildCronView(upcoming: readonly UpcomingCronRun[], runs: readonly CronRun[]): CronBody {
  return {
    triggers: upcoming.map(({ schedule, timezone, nextAtMs }) => ({
      schedule,
      timezone,
      nextPlannedAt: nextAtMs === undefined ? null : formatTime(nextAtMs),
    })),
    runs: runs.map(({ triggerId, plannedAtMs, state, requestId, failure }) => ({
      ...readCronTriggerId(triggerId),
      plannedAt: formatTime(plannedAtMs),
      state: state === "handed-over" ? "running" : state,
      ...defined({ requestId }),
      ...failure,
    })),
  };
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
