import { z } from "zod";

/** `trigger` of an event: what made the call. */
export type TriggerInfo =
  | { type: "invoke" }
  | { type: "http" }
  | { type: "cron"; schedule: string; plannedAt: string }
  | { type: "queue"; queue: string; exchange: string; messageId: string; attempt: number; redelivered: boolean };

const seconds = (description: string) =>
  z
    .number()
    .min(0)
    .meta({ description: `${description}, in seconds` });

export const FunctionMetrics = z
  .object({
    invocations: z.int().min(0).meta({ description: "Attempts of all triggers" }),
    coldStarts: z.int().min(0).meta({ description: "Calls that waited for a replica to be made" }),
    avgDuration: seconds("Mean time of the handler"),
    errorRate: z.number().min(0).max(1).meta({ description: "Part of the calls that ended in FUNCTION_* or TIMEOUT, 0 to 1" }),
    costEstimate: z.number().min(0).meta({ description: "US dollars" }),
    p50: seconds("Median time of the handler"),
    p95: seconds("95th percentile"),
    p99: seconds("99th percentile"),
    coldStartAvg: seconds("Mean wait of cold calls"),
    inFlight: z.int().min(0).meta({ description: "Calls that run now" }),
    replicas: z.int().min(0),
    lastInvocation: z.iso.datetime().nullable(),
    errors: z.record(z.string(), z.int()).meta({ description: "Failed calls by error code" }),
  })
  .meta({ id: "FunctionMetrics", description: "What a function's calls came to. All 0 before the first." });
export type FunctionMetrics = z.infer<typeof FunctionMetrics>;

/** One line of a function's log. */
export const LogEntry = z
  .object({
    time: z.iso.datetime({ precision: 3 }).meta({ description: "With milliseconds" }),
    stream: z.enum(["stdout", "stderr", "system"]),
    requestId: z.string().nullable(),
    replica: z.string(),
    revision: z.int(),
    message: z.string(),
    truncated: z.exactOptional(z.boolean()).meta({ description: "Cut at 64 KiB" }),
    dropped: z.exactOptional(z.int()).meta({ description: "So many entries had to be dropped here" }),
  })
  .meta({ id: "LogEntry", description: "One line that a function printed, or that the platform says of it." });
export type LogEntry = z.infer<typeof LogEntry>;
