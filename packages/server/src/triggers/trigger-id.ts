import type { CronTrigger, QueueTrigger } from "@kube-serverless/contracts";

export const DEFAULT_TIMEZONE = "UTC";

/**
 * What a trigger is the same by, through updates that leave it alone: its function's uid, its type and what defines it
 * (schedule and zone; queue and exchange). JSON, so that no part can be mistaken for another.
 */
export function triggerId(uid: string, trigger: CronTrigger | QueueTrigger): string {
  if (trigger.type === "cron") {
    const { schedule, timezone = DEFAULT_TIMEZONE } = trigger.config;
    return JSON.stringify([uid, "cron", schedule, timezone]);
  }
  return JSON.stringify([uid, "queue", trigger.config.queue, trigger.config.exchange ?? ""]);
}

/** What a cron trigger's id was made of: a run is told by it when its trigger is long gone. */
export function readCronTriggerId(id: string): { schedule: string; timezone: string } {
  const [, , schedule, timezone] = JSON.parse(id) as [string, "cron", string, string];
  return { schedule, timezone };
}
