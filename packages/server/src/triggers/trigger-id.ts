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
