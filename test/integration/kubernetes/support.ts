import { readFileSync } from "node:fs";
import { after, before } from "node:test";
import { buildCustomResourceDefinitions } from "../../../packages/contracts/src/index.ts";
import { ApiClient } from "../../../packages/server/src/kubernetes/api-client.ts";
import type { ClusterConnection } from "../../../packages/server/src/kubernetes/connection.ts";
import { TestApiServer } from "../../cluster/api-server.ts";
import { StallingProxy } from "./stalling-proxy.ts";

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

/** What a suite has while its tests run. */
export interface ApiServerOfSuite {
  server: TestApiServer;
  client: ApiClient;
}

/** An API server for the tests of the suite that this is called in. */
export function useApiServer(prepare: (server: TestApiServer) => Promise<void>): ApiServerOfSuite {
  const api = {} as ApiServerOfSuite;
  before(async () => {
    api.server = await TestApiServer.start();
    api.client = adminClient(api.server);
    await prepare(api.server);
  });
  after(async () => {
    api.client?.stop();
    await api.server?.dispose();
  });
  return api;
}

/** The same behind a proxy that can stand still; `direct` goes round it. */
export function useStallingApiServer(
  prepare: (server: TestApiServer) => Promise<void> = async () => {},
): ApiServerOfSuite & { proxy: StallingProxy; direct: ApiClient } {
  const api = {} as ReturnType<typeof useStallingApiServer>;
  before(async () => {
    api.server = await TestApiServer.start();
    api.proxy = await StallingProxy.start(api.server.url);
    api.direct = adminClient(api.server);
    api.client = adminClient(api.server, api.proxy.url);
    await prepare(api.server);
  });
  after(async () => {
    api.direct?.stop();
    api.client?.stop();
    await api.proxy?.stop();
    await api.server?.dispose();
  });
  return api;
}
