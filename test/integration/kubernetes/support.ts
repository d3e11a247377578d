import { readFileSync } from "node:fs";
import { buildCustomResourceDefinitions } from "../../../packages/contracts/src/index.ts";
import { ApiClient } from "../../../packages/server/src/kubernetes/api-client.ts";
import type { ClusterConnection } from "../../../packages/server/src/kubernetes/connection.ts";
import type { TestApiServer } from "../../cluster/api-server.ts";

/** The connection of a user who may do everything. */
export function connectAsAdmin(server: TestApiServer, url = server.url): ClusterConnection {
  return { url, tls: { ca: readFileSync(server.caFile) }, headers: () => ({ authorization: `Bearer ${server.adminToken}` }) };
}

export function adminClient(server: TestApiServer, url?: string): ApiClient {
  return new ApiClient(connectAsAdmin(server, url));
}

export const quietLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** The custom resources, ready to be used. */
export async function installDefinitions(server: TestApiServer): Promise<void> {
  const definitions = [...buildCustomResourceDefinitions().values()];
  await server.apply(definitions);
  const names = definitions.map(({ metadata }) => `crd/${metadata.name}`);
  await server.kubectl(["wait", "--for=condition=Established", "--timeout=30s", ...names]);
}
