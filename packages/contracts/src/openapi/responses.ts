import { z } from "zod";
import { ERRORS, type ErrorCode } from "../error.ts";
import { FunctionSpec } from "../function.ts";

const time = () => z.iso.datetime();
const errorCode = () => z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);
const spec = FunctionSpec.shape;

export const FunctionStatusBody = z
  .object({
    state: z.enum(["deploying", "running", "failed", "deleting"]),
    reason: z.string().optional().meta({ description: "Why it failed, in a word such as SyntaxError" }),
    message: z.string().optional().meta({ description: "Why it failed, with file and line where they are known" }),
    replicas: z.int().min(0),
    readyReplicas: z.int().min(0),
    endpoint: z.string().meta({ description: "Name of the function; resolves in a cluster, and is routed by its Host header everywhere" }),
    lastDeployment: time().optional().meta({ description: "When the revision that serves became current" }),
    lastInvocation: time().optional(),
    revision: z.int().min(0).meta({ description: "Revision that serves; 0 while none does" }),
    observedGeneration: z.int().min(0).meta({ description: "Generation that `state` speaks of" }),
    runtimeVersion: z.string().optional().meta({ description: "The real version that runs it" }),
  })
  .meta({ id: "FunctionStatus" });

const identity = {
  uid: z.string().meta({ description: "Names this function and no later one of the same name" }),
  createdAt: time(),
  generation: z.int().min(1).meta({ description: "Counts every change of the spec" }),
  revision: z.int().min(1).meta({ description: "Counts the changes that need new replicas" }),
};

const readSpec = {
  name: spec.name,
  runtime: spec.runtime,
  handler: spec.handler,
  environment: spec.environment.unwrap(),
  minReplicas: spec.minReplicas.unwrap(),
  maxReplicas: spec.maxReplicas.unwrap(),
  triggers: spec.triggers.unwrap(),
  timeout: spec.timeout.unwrap(),
  memory: spec.memory.unwrap(),
  concurrency: spec.concurrency.unwrap(),
  network: spec.network.unwrap(),
};

export const FunctionSummary = z
  .object({ ...readSpec, ...identity, status: FunctionStatusBody })
  .meta({ id: "FunctionSummary", description: "A function as the list shows it: without its code." });

export const FunctionBody = z
  .object({ ...readSpec, code: spec.code, ...identity, status: FunctionStatusBody })
  .meta({ id: "Function", description: "A function: what was asked for, and how it is." });

export const DeployedFunction = z
  .object({
    name: spec.name,
    runtime: spec.runtime,
    handler: spec.handler,
    status: z.object({ state: FunctionStatusBody.shape.state }),
    uid: identity.uid,
    generation: identity.generation,
    revision: identity.revision,
  })
  .meta({ id: "DeployedFunction", description: "What a deploy answers, before the code has been tried." });

export const InvokeResult = z
  .object({
    statusCode: z.int().min(200).max(599).meta({ description: "The status that the function chose; 200 where it chose none" }),
    headers: z.record(z.string(), z.unknown()).optional(),
    body: z.unknown().meta({ description: "What the function returned" }),
    isBase64Encoded: z.boolean().optional(),
  })
  .meta({ id: "InvokeResult" });

export const ScalingBody = z
  .object({
    replicas: z.int().min(0),
    desired: z.int().min(0),
    min: z.int().min(0),
    max: z.int().min(1),
    inFlight: z.int().min(0),
    queued: z.int().min(0),
    decisions: z
      .array(z.looseObject({ time: time(), from: z.int(), to: z.int(), reason: z.string() }))
      .meta({ description: "The last decisions that changed something, oldest first, with the figures behind them" }),
  })
  .meta({ id: "Scaling" });

const cronTrigger = { schedule: z.string(), timezone: z.string().meta({ description: "IANA name" }) };

export const CronRunState = z.enum(["claimed", "running", "succeeded", "failed", "skipped", "interrupted", "missed"]);

export const CronBody = z
  .object({
    triggers: z.array(
      z.object({
        ...cronTrigger,
        nextPlannedAt: time().nullable().meta({ description: "When it runs next; null where no time comes any more" }),
      }),
    ),
    runs: z
      .array(
        z.object({
          ...cronTrigger,
          plannedAt: time().meta({ description: "The time that the schedule names; the event has the same" }),
          state: CronRunState.meta({
            description:
              "`skipped`: the run before still ran, with `overlap: skip`; `interrupted`: the server ended while it ran; `missed`: the server was away for more than 60 s",
          }),
          requestId: z.string().optional().meta({ description: "Names the call in the function's log; of runs that were begun" }),
          code: errorCode().optional().meta({ description: "Of failed runs, as an error answer would have it" }),
          error: z.string().optional().meta({ description: "Why a run failed; its start, where it is long" }),
        }),
      )
      .meta({ description: "The last planned times, newest first; about a hundred are kept of each trigger" }),
  })
  .meta({ id: "Cron" });
export type CronBody = z.infer<typeof CronBody>;

export const QueueBody = z
  .object({
    queue: z.string(),
    ready: z.int().min(0).meta({ description: "Messages that wait" }),
    unacked: z.int().min(0).meta({ description: "Messages in work" }),
    dead: z.int().min(0).meta({ description: "Messages in `<queue>.dead`" }),
  })
  .meta({ id: "Queue" });

export const PublishedMessage = z.object({ messageId: z.uuid() }).meta({ id: "PublishedMessage" });

export const Health = z.object({ status: z.literal("healthy") }).meta({ id: "Health" });

export const Ready = z
  .looseObject({
    status: z.enum(["starting", "ready", "draining"]),
    degraded: z.array(z.string()).optional().meta({ description: "What is away, or weaker than it should be" }),
  })
  .meta({ id: "Ready" });

export const ErrorResponse = z
  .object({
    error: z.string().meta({ description: "What happened, and what to do" }),
    code: errorCode(),
    requestId: z.string(),
    details: z.unknown().optional().meta({ description: "Of INVALID_REQUEST: every problem as `{path, message}`" }),
  })
  .meta({ id: "Error", description: "The body of every error answer." });
