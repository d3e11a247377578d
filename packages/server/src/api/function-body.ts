import { buildEndpoint } from "@kube-serverless/contracts";
import type { FunctionView } from "../functions/port.ts";

/** How much of a function its reader is shown. */
export interface Exposure {
  /** Left out where it is undefined, as in lists. */
  code?: string;
  masksEnvironment: boolean;
}

/** Stands for the value of a variable. */
const MASK = "********";

/** A function as GET and the list show it. */
export function buildFunctionBody(view: FunctionView, { code, masksEnvironment }: Exposure): object {
  const { name, runtime, handler, environment, minReplicas, maxReplicas, triggers, timeout, memory, concurrency, network } =
    view.stored.spec;
  const { auth, rateLimit, maxConcurrency, budget } = view.stored.spec;
  const { uid, createdAt, generation, revision } = view.stored;
  return {
    name,
    runtime,
    handler,
    ...(code === undefined ? {} : { code }),
    environment: masksEnvironment ? mask(environment) : environment,
    minReplicas,
    maxReplicas,
    triggers,
    timeout,
    memory,
    concurrency,
    network,
    // Those that are undefined are left out by JSON.
    auth,
    rateLimit,
    maxConcurrency,
    budget,
    uid,
    createdAt,
    generation,
    revision,
    status: buildStatus(view),
  };
}

function mask(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(environment).map((name) => [name, MASK]));
}

function buildStatus({ stored, replicas, readyReplicas, lastInvocation }: FunctionView): object {
  const { state, reason, message, runtimeVersion, lastDeployment, revision, observedGeneration } = stored.status;
  // Those that are undefined are left out by JSON.
  return {
    state,
    reason,
    message,
    replicas,
    readyReplicas,
    endpoint: buildEndpoint(stored.spec.name),
    lastDeployment,
    lastInvocation,
    revision,
    observedGeneration,
    runtimeVersion,
  };
}

/** What POST and PUT answer: the four documented fields, and what names this version. */
export function buildDeployedBody({ stored }: FunctionView): object {
  const { name, runtime, handler } = stored.spec;
  const { uid, generation, revision } = stored;
  return { name, runtime, handler, status: { state: stored.status.state }, uid, generation, revision };
}
