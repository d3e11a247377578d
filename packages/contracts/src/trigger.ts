import { z } from "zod";
import { FunctionAuth } from "./function-auth.ts";
import { WebhookSignature } from "./webhook-signature.ts";

/** First path segments that no HTTP trigger may take: the platform's own. */
export const RESERVED_SEGMENTS = ["api", "health", "ready", "metrics", "openapi.json", "docs", "console", "fn"] as const;

export const MAX_TRIGGERS = 32;

export const HttpMethod = z.enum(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export const HttpTrigger = z
  .strictObject({
    type: z.literal("http"),
    config: z.strictObject({
      path: z
        .string()
        .min(1)
        .max(1024)
        .meta({
          description: "Absolute path: literal segments, `:name` for a parameter, `/*` at the end for the rest",
          examples: ["/users/:id"],
        }),
      methods: z
        .array(HttpMethod)
        .min(1)
        .max(7)
        .optional()
        .meta({ description: "Methods that are answered; all where it is left out", examples: [["GET", "POST"]] }),
      auth: FunctionAuth.optional().meta({ description: "Of this path alone; as the function's `auth` where it is left out" }),
      signature: WebhookSignature.optional(),
    }),
  })
  .meta({ id: "HttpTrigger", description: "Calls the function for requests to a path." });
export type HttpTrigger = z.infer<typeof HttpTrigger>;

export const CronTrigger = z
  .strictObject({
    type: z.literal("cron"),
    config: z.strictObject({
      schedule: z
        .string()
        .min(1)
        .max(256)
        .meta({ description: "Five fields (six with seconds first), or `@hourly` and the like", examples: ["*/5 * * * *"] }),
      timezone: z
        .string()
        .min(1)
        .max(64)
        .optional()
        .meta({ description: "IANA name; UTC where it is left out", examples: ["Europe/Kyiv"] }),
      overlap: z.enum(["allow", "skip"]).optional().meta({ description: "When the last run still runs; `allow` where it is left out" }),
      missed: z
        .enum(["skip", "once"])
        .optional()
        .meta({ description: "After an outage: nothing, or one catch-up run; `skip` where it is left out" }),
      body: z.unknown().optional().meta({ description: "The event's body, any JSON" }),
    }),
  })
  .meta({ id: "CronTrigger", description: "Calls the function at the times of a schedule." });
export type CronTrigger = z.infer<typeof CronTrigger>;

export const QueueTrigger = z
  .strictObject({
    type: z.literal("queue"),
    config: z.strictObject({
      queue: z
        .string()
        .min(1)
        .max(200)
        .meta({ description: "Name of the queue, made durable unless it exists", examples: ["function-queue"] }),
      exchange: z
        .string()
        .min(1)
        .max(200)
        .optional()
        .meta({ description: "Durable direct exchange to bind the queue to, made unless it exists", examples: ["function-triggers"] }),
      routingKey: z.string().max(200).optional().meta({ description: "Key of the binding; the queue's name where it is left out" }),
      concurrency: z.int().min(1).max(1000).optional().meta({ description: "Messages in work at once" }),
      maxAttempts: z
        .int()
        .min(1)
        .max(100)
        .optional()
        .meta({ description: "Attempts before the message goes to `<queue>.dead`; 5 where it is left out" }),
    }),
  })
  .meta({ id: "QueueTrigger", description: "Calls the function for each message of a queue." });
export type QueueTrigger = z.infer<typeof QueueTrigger>;

export const Trigger = z
  .discriminatedUnion("type", [HttpTrigger, CronTrigger, QueueTrigger], {
    error: (issue) => (issue.code === "invalid_union" ? "must be one of http, cron, queue" : undefined),
  })
  .meta({ id: "Trigger" });
export type Trigger = z.infer<typeof Trigger>;
