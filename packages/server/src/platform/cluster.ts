import { hostname } from "node:os";
import { KsError } from "@kube-serverless/contracts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { type ClusterConnection, connectFromPod } from "../kubernetes/connection.ts";
import { formatPeerAddress } from "./gateways.ts";

/** How this gateway is called, and where the cluster reaches it. */
export interface Self {
  name: string;
  /** Unlike that of any other process that ever was. */
  identity: string;
  systemHost: string;
  /** `host:port` for its peers; undefined outside of a pod. */
  address: string | undefined;
}

export function describeSelf({ podName, podUid, podIp, peerPort }: Config): Self {
  const name = podName ?? hostname();
  const identity = `${name}_${podUid ?? process.pid}`;
  const address = podIp === undefined ? undefined : formatPeerAddress(podIp, peerPort);
  // Probes come from the node, so the port listens beyond loopback wherever there is a pod.
  return { name, identity, systemHost: podIp ?? "127.0.0.1", address };
}

export type ConnectionConfig = Pick<Config, "kubeconfigFile" | "apiServerHost" | "apiServerPort">;

/**
 * By the kubeconfig that is named, else as the pod that this is; the official client, which is large, is loaded for the first alone.
 * @throws where there is neither
 */
export async function connectToCluster(config: ConnectionConfig, clock: Clock): Promise<ClusterConnection> {
  const { kubeconfigFile, apiServerHost: host, apiServerPort: port } = config;
  if (kubeconfigFile !== undefined) {
    const { connectByKubeconfig } = await import("../kubernetes/kubeconfig.ts");
    return connectByKubeconfig(kubeconfigFile);
  }
  if (host !== undefined) return connectFromPod({ host, port, clock });
  throw new KsError("INTERNAL", { message: "There is no Kubernetes to ask: give --kubeconfig, or run in a pod" });
}
