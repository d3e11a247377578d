import type { RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import type { ClusterConnection } from "./connection.ts";

/** The connection that a kubeconfig's current context names, by the official client: certificates, tokens, exec plugins, OIDC. */
export async function connectByKubeconfig(file: string): Promise<ClusterConnection> {
  const config = new KubeConfig();
  config.loadFromFile(file);
  const url = config.getCurrentCluster()?.server;
  if (url === undefined) throw new Error(`${file} has no current cluster: name one with kubectl config use-context`);
  const { ca, cert, key, servername, rejectUnauthorized } = await authenticate(config);
  return {
    url,
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(servername === undefined ? {} : { servername }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    },
    async headers() {
      const { headers, auth } = await authenticate(config);
      const given = (headers ?? {}) as Record<string, string>;
      return auth == null ? given : { ...given, authorization: `Basic ${Buffer.from(auth).toString("base64")}` };
    },
  };
}

async function authenticate(config: KubeConfig): Promise<RequestOptions> {
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  return options;
}
