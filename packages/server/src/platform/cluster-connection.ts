import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { type ClusterConnection, connectFromPod } from "../kubernetes/connection.ts";

export type ConnectionConfig = Pick<Config, "kubeconfigFile" | "apiServerHost" | "apiServerPort">;

/** To the API server: by the kubeconfig where one is named, else as the pod that this is. @throws where there is neither */
export async function connectToCluster(config: ConnectionConfig, clock: Clock): Promise<ClusterConnection> {
  const { kubeconfigFile, apiServerHost, apiServerPort } = config;
  if (kubeconfigFile !== undefined) {
    const { connectByKubeconfig } = await import("../kubernetes/kubeconfig.ts");
    return connectByKubeconfig(kubeconfigFile);
  }
  if (apiServerHost !== undefined) return connectFromPod({ host: apiServerHost, port: apiServerPort, clock });
  throw new Error("There is no Kubernetes to ask: give --kubeconfig, or run in a pod.");
}
