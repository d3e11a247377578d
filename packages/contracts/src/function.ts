import { z } from "zod";
import { FunctionName } from "./name.ts";
import { Runtime } from "./runtime.ts";
import { Trigger } from "./trigger.ts";

export const MAX_CODE_BYTES = 1024 * 1024;

/** Language of a runtime decides the default concurrency: Python runs one call at a time unless told otherwise. */
export function defaultConcurrency(runtime: string): number {
  return runtime.startsWith("python") ? 1 : 100;
}

const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/);

/** What a user asks for, with every default filled in. */
export const FunctionSpec = z
  .strictObject({
    name: FunctionName,
    runtime: Runtime,
    handler: z.string().min(1).max(256),
    code: z.string().min(1),
    environment: z.record(environmentName, z.string()).default({}),
    minReplicas: z.int().min(0).max(1000).default(0),
    maxReplicas: z.int().min(1).max(1000).default(10),
    triggers: z.array(Trigger).max(32).default([]),
    timeout: z.number().min(1).max(900).default(30).meta({ description: "Seconds of handler time" }),
    memory: z.int().min(64).max(10240).default(256).meta({ description: "MiB" }),
    concurrency: z.int().min(1).max(1000).optional(),
    network: z.enum(["outbound", "none"]).default("outbound"),
  })
  .meta({ id: "FunctionSpec" });
export type FunctionSpec = Required<z.infer<typeof FunctionSpec>>;

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
