import { z } from "zod";
import { FunctionAuth } from "./function-auth.ts";
import { Budget, MaxConcurrency, RateLimit } from "./limits.ts";
import { FunctionName } from "./name.ts";
import { Runtime } from "./runtime.ts";
import { MAX_TRIGGERS, Trigger } from "./trigger.ts";

export const MAX_CODE_BYTES = 1024 * 1024;

/** Language of a runtime decides the default concurrency: Python runs one call at a time unless told otherwise. */
export function defaultConcurrency(runtime: string): number {
  return runtime.startsWith("python") ? 1 : 100;
}

/** Shape of what a user asks for; `parseFunctionSpec` adds the checks that a schema cannot say. */
export const FunctionSpec = z
  .strictObject({
    name: FunctionName,
    runtime: Runtime,
    handler: z
      .string()
      .min(1)
      .max(256)
      .meta({
        description: "Node.js: `file.export`; Python: `file.function` or `function`; Go: `Function`",
        examples: ["index.handler"],
      }),
    code: z
      .string()
      .min(1)
      .meta({
        description: "Source code, 1 byte to 1 MiB of UTF-8",
        examples: ["module.exports.handler = async (event) => ({ statusCode: 200, body: 'Hello!' });"],
      }),
    environment: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: "Variables of the function: at most 128, 64 KiB together", examples: [{ VAR1: "value1" }] }),
    minReplicas: z.int().min(0).max(1000).default(0).meta({ description: "Replicas that are kept without calls; 0 scales to zero" }),
    maxReplicas: z.int().min(1).max(1000).default(10).meta({ description: "Most replicas that take calls; at least minReplicas" }),
    triggers: z.array(Trigger).max(MAX_TRIGGERS).default([]).meta({ description: "What calls the function beside invocations" }),
    timeout: z.number().min(1).max(900).default(30).meta({ description: "Seconds of handler time" }),
    memory: z.int().min(64).max(10240).default(256).meta({ description: "MiB of one replica" }),
    concurrency: z.int().min(1).max(1000).optional().meta({
      description: "Calls at once in one replica; 100 for Node.js and Go, 1 for Python, where it is left out",
    }),
    network: z
      .enum(["outbound", "none"])
      .default("outbound")
      .meta({ description: "`outbound`: may connect to others, but not to this machine; `none`: no network" }),
    auth: FunctionAuth.optional(),
    rateLimit: RateLimit.optional(),
    maxConcurrency: MaxConcurrency.optional(),
    budget: Budget.optional(),
  })
  .meta({ id: "FunctionSpec", description: "A function as its user writes it." });
export type FunctionSpec = Omit<z.infer<typeof FunctionSpec>, "concurrency"> & { concurrency: number };

export type FunctionState = "deploying" | "running" | "failed" | "deleting";

/** What changes of a function without its user: kept by the store, shown under `status`. */
export interface FunctionStatus {
  state: FunctionState;
  /** Generation of the spec that `state` speaks of. */
  observedGeneration: number;
  /** Revision that serves; 0 while none does. */
  revision: number;
  /** Why `failed`: a short word such as `SyntaxError`, and the whole story. */
  reason?: string;
  message?: string;
  runtimeVersion?: string;
  /** ISO 8601; when the serving revision became current. */
  lastDeployment?: string;
}
