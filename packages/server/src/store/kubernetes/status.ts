import type { FunctionStatus } from "@kube-serverless/contracts";
import { defined } from "../../defined.ts";
import type { LiveStatus } from "../declared.ts";
import type { StoredFunction } from "../port.ts";
import type { Condition, FunctionObjectStatus } from "./objects.ts";

export interface StatusInput {
  stored: StoredFunction;
  live: LiveStatus;
  /** Hash of the wanted revision. */
  hash: string | undefined;
  admittedPaths: readonly string[];
  endpoint: string;
  before: readonly Condition[];
  nowMs: number;
}

/** The whole status as its owner writes it. */
export function buildObjectStatus({ stored, live, hash, admittedPaths, endpoint, before, nowMs }: StatusInput): FunctionObjectStatus {
  const { status, served, revision, generation } = stored;
  const { state, observedGeneration, reason, runtimeVersion, lastDeployment } = status;
  const { lastInvocation, counters, replicas, readyReplicas } = live;
  return {
    state,
    observedGeneration,
    revision: status.revision,
    endpoint,
    replicas,
    readyReplicas,
    admittedPaths: [...admittedPaths],
    // A spec that could never be read has no revision yet.
    ...(hash === undefined ? {} : { wantedRevision: revision, wantedHash: hash }),
    ...defined({ servedGeneration: served?.generation, reason, message: status.message?.slice(0, 32_768) }),
    ...defined({ runtimeVersion, lastDeployment, lastInvocation, counters }),
    conditions: [readyCondition(status, live.nameTaken), progressingCondition(status)].map((condition) =>
      keepTime({ ...condition, observedGeneration: generation, lastTransitionTime: new Date(nowMs).toISOString() }, before),
    ),
  };
}

type Said = Pick<Condition, "type" | "status" | "reason" | "message">;

/** Speaks of the spec as it is now: an older one may go on serving while this is False. */
function readyCondition({ state, reason, message }: FunctionStatus, nameTaken: string | undefined): Said {
  const type = "Ready";
  if (state === "failed") return { type, status: "False", reason: reason ?? "Failed", message: (message ?? "").slice(0, 32_768) };
  if (state !== "running") return { type, status: "False", reason: "Deploying", message: "The code is being loaded" };
  if (nameTaken !== undefined) return { type, status: "False", reason: "NameTaken", message: nameTaken };
  return { type, status: "True", reason: "Deployed", message: "It can be called" };
}

function progressingCondition({ state }: FunctionStatus): Said {
  const type = "Progressing";
  if (state === "deploying") return { type, status: "True", reason: "Deploying", message: "The code is being loaded" };
  return { type, status: "False", reason: state === "failed" ? "DeployFailed" : "Deployed", message: "The deploy has come to its end" };
}

function keepTime(condition: Condition, before: readonly Condition[]): Condition {
  const same = before.find(({ type, status }) => type === condition.type && status === condition.status);
  return same === undefined ? condition : { ...condition, lastTransitionTime: same.lastTransitionTime };
}
