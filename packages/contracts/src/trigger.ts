import { z } from "zod";

/** First path segments that no HTTP trigger may take: the platform's own. */
export const RESERVED_SEGMENTS = ["api", "health", "ready", "metrics", "openapi.json", "docs", "console", "fn"] as const;

export const HttpMethod = z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export const HttpTrigger = z
  .strictObject({
    type: z.literal("http"),
    config: z.strictObject({
      path: z.string().min(1).max(1024),
      methods: z.array(HttpMethod).min(1).max(7).optional(),
    }),
  })
  .meta({ id: "HttpTrigger" });
export type HttpTrigger = z.infer<typeof HttpTrigger>;

export const CronTrigger = z
  .strictObject({
    type: z.literal("cron"),
    config: z.strictObject({
      schedule: z.string().min(1).max(256),
      timezone: z.string().min(1).max(64).optional(),
      overlap: z.enum(["allow", "skip"]).optional(),
      missed: z.enum(["skip", "once"]).optional(),
      body: z.json().optional(),
    }),
  })
  .meta({ id: "CronTrigger" });
export type CronTrigger = z.infer<typeof CronTrigger>;

export const QueueTrigger = z
  .strictObject({
    type: z.literal("queue"),
    config: z.strictObject({
      queue: z.string().min(1).max(200),
      exchange: z.string().min(1).max(200).optional(),
      routingKey: z.string().max(255).optional(),
      concurrency: z.int().min(1).max(1000).optional(),
      maxAttempts: z.int().min(1).max(100).optional(),
    }),
  })
  .meta({ id: "QueueTrigger" });
export type QueueTrigger = z.infer<typeof QueueTrigger>;

export const Trigger = z.discriminatedUnion("type", [HttpTrigger, CronTrigger, QueueTrigger]).meta({ id: "Trigger" });
export type Trigger = z.infer<typeof Trigger>;
