import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { ApiClient } from "../kubernetes/api-client.ts";
import { hasStatus } from "../kubernetes/api-error.ts";
import { buildPath, type KubernetesObject, type Resource } from "../kubernetes/resource.ts";
import { type ConnectionConfig, connectToCluster } from "./cluster.ts";

export interface RemoveReplicasOptions extends ConnectionConfig, Pick<Config, "functionsNamespace" | "systemNamespace" | "gatewayService"> {
  clock: Clock;
  /** How long gateways may finish calls, before the replicas are taken from them. @default 60_000 */
  gatewaysLimitMs?: number;
  log: (message: string) => void;
}

const LOOK_EVERY_MS = 500;
const SERVER_LABELS = "app.kubernetes.io/name=kube-serverless,app.kubernetes.io/component=server";

/** What must be done before the platform is uninstalled: functions stay, and nothing of them runs any more. */
export async function removeReplicas(options: RemoveReplicasOptions): Promise<void> {
  const client = new ApiClient(await connectToCluster(options, options.clock));
  try {
    // Gateways first, or they would replace what goes.
    await stopGateways(client, options);
    const pods: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods", namespace: options.functionsNamespace };
    const names = await listNames(client, pods, "kube-serverless.io/function-uid");
    await Promise.all(names.map((name) => client.delete(pods, name)));
    options.log(`replicas told to end: ${names.length}`);
    await clearStatus(client, options);
  } finally {
    client.stop();
  }
}

async function stopGateways(client: ApiClient, options: RemoveReplicasOptions): Promise<void> {
  const { clock, systemNamespace: namespace, gatewayService, gatewaysLimitMs = 60_000 } = options;
  const deployments: Resource = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments", namespace };
  try {
    const path = buildPath(deployments, gatewayService, "scale");
    await client.request("PATCH", path, { body: { spec: { replicas: 0 } }, contentType: "application/merge-patch+json" });
  } catch (error) {
    if (!hasStatus(error, 404)) throw error;
  }
  const pods: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods", namespace };
  const endMs = clock.monotonicMs() + gatewaysLimitMs;
  while ((await listNames(client, pods, SERVER_LABELS)).length > 0 && clock.monotonicMs() < endMs) await pause(clock, LOOK_EVERY_MS);
  options.log("the gateways have ended");
}

/** So that `kubectl get functions` does not tell of replicas that nobody counts any more. */
async function clearStatus(client: ApiClient, { functionsNamespace: namespace }: RemoveReplicasOptions): Promise<void> {
  const functions: Resource = { apiVersion: "kube-serverless.io/v1alpha1", kind: "Function", plural: "functions", namespace };
  for (const name of await listNames(client, functions)) {
    const patch = { body: { status: { replicas: 0, readyReplicas: 0 } }, contentType: "application/merge-patch+json" };
    await client.request("PATCH", buildPath(functions, name, "status"), patch).catch((error: unknown) => {
      if (!hasStatus(error, 404)) throw error;
    });
  }
}

async function listNames(client: ApiClient, resource: Resource, labelSelector?: string): Promise<string[]> {
  const names: string[] = [];
  let next: string | undefined;
  do {
    const page = await client.listPage<KubernetesObject>(resource, { labelSelector, limit: 500, continue: next });
    names.push(...page.items.map(({ metadata }) => metadata.name));
    next = page.metadata.continue === "" ? undefined : page.metadata.continue;
  } while (next !== undefined);
  return names;
}

function pause(clock: Clock, durationMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(durationMs, resolve));
}
