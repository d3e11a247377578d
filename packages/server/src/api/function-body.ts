import { buildEndpoint } from "@kube-serverless/contracts";
import type { FunctionView } from "../functions/port.ts";

/** A function as GET shows it; the list leaves the code out. */
export function buildFunctionBody(view: FunctionView, code?: string): object {
  const { name, runtime, handler, environment, minReplicas, maxReplicas, triggers, timeout, memory, concurrency, network } =
    view.stored.spec;
  const { uid, createdAt, generation, revision } = view.stored;
  return {
    name,
    runtime,
    handler,
    ...(code === undefined ? {} : { code }),
    environment,
    minReplicas,
    maxReplicas,
    triggers,
    timeout,
    memory,
    concurrency,
    network,
    uid,
    createdAt,
    generation,
    revision,
    status: buildStatus(view),
  };
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
