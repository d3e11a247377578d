import { z } from "zod";

export const RateLimit = z
  .strictObject({
    requestsPerSecond: z
      .number()
      .min(0.001)
      .max(1_000_000)
      .meta({ description: "Calls a second, in the long run", examples: [10] }),
    burst: z
      .int()
      .min(1)
      .max(10_000_000)
      .optional()
      .meta({ description: "Calls at once after a pause; the calls of one second, at least 1, where it is left out", examples: [20] }),
  })
  .meta({ description: "Calls over it are answered 429 before the function is woken." });
export type RateLimit = z.infer<typeof RateLimit>;

export const MaxConcurrency = z
  .int()
  .min(1)
  .max(100_000)
  .meta({ description: "Calls at once, waiting ones included; more are answered 429" });

export const Budget = z
  .strictObject({
    perDay: z
      .number()
      .gt(0)
      .max(1_000_000)
      .meta({ description: "US dollars a day (UTC), by the estimate that `costEstimate` shows", examples: [5] }),
  })
  .meta({ description: "Once it is spent, calls are answered 429 until the day ends." });
export type Budget = z.infer<typeof Budget>;
