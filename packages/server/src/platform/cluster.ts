import { hostname } from "node:os";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { type ClusterConnection, connectFromPod } from "../kubernetes/connection.ts";

/** How this gateway is called, and where the cluster reaches it. */
export interface Self {
  name: string;
  /** Unlike that of any other process that ever was. */
  identity: string;
  systemHost: string;
}

export function describeSelf(config: Config): Self {
  const name = config.podName ?? hostname();
  const identity = `${name}_${config.podUid ?? process.pid}`;
  // Probes come from the node, so the port listens beyond loopback wherever there is a pod.
  return { name, identity, systemHost: config.podIp === undefined ? "127.0.0.1" : "::" };
}

/** By the kubeconfig that is named, else as the pod that this is; the official client, which is large, is loaded for the first alone. */
export async function connectToCluster(config: Config, clock: Clock): Promise<ClusterConnection> {
  if (config.kubeconfigFile !== undefined) {
    const { connectByKubeconfig } = await import("../kubernetes/kubeconfig.ts");
    return connectByKubeconfig(config.kubeconfigFile);
  }
  return connectFromPod({ host: config.apiServerHost ?? "", port: config.apiServerPort, clock });
}
