import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { startServer, type TestServer } from "../../support/server.ts";
import type { TestApiServer } from "../../cluster/api-server.ts";
import { installDefinitions } from "./support.ts";

export const FUNCTIONS_NAMESPACE = "kube-serverless";
export const SYSTEM_NAMESPACE = "kube-serverless-system";

/** Namespaces and custom resources, as the chart installs them. */
export async function installPlatform(server: TestApiServer): Promise<void> {
  await installDefinitions(server);
  await server.createNamespace(FUNCTIONS_NAMESPACE);
  await server.createNamespace(SYSTEM_NAMESPACE);
}

export interface GatewayOptions {
  name?: string;
  /** An address of loopback, at which its peers find it; without one it is alone. */
  address?: string;
  kubeconfig?: string;
  flags?: readonly string[];
}

/** A gateway of the cluster on this machine, whose replicas are sandboxes here. */
export async function startGateway(
  server: TestApiServer,
  { name = "gateway-0", address, kubeconfig, flags = [] }: GatewayOptions = {},
): Promise<TestServer & { systemPort: number }> {
  const systemPort = await findFreePort();
  const platform = ["--platform", "kubernetes", "--replicas", "local", "--kubeconfig", kubeconfig ?? server.kubeconfigFile];
  const own = ["--pod-name", name, "--system-port", String(systemPort), "--pool", "python39=0,go119=0,nodejs18=1"];
  if (address !== undefined) {
    await announcePod(server, name, address);
    own.push("--pod-ip", address, "--peer-port", String(PEER_PORT));
  }
  const started = await startServer({ flags: [...platform, ...own, ...flags] });
  return Object.assign(started, { systemPort });
}

const PEER_PORT = 18_081;
let addresses = 0;

/** One of loopback that no other test has: all gateways of a cluster listen to each other on one port. */
export function nextAddress(): string {
  const { pid } = process;
  return `127.${64 + ((pid >> 16) & 63)}.${(pid >> 8) & 255}.${(((pid & 255) + 37 * addresses++) % 254) + 1}`;
}

/** The gateway's pod as the others see it: nothing runs it here. */
async function announcePod(server: TestApiServer, name: string, address: string): Promise<void> {
  const labels = { "app.kubernetes.io/name": "kube-serverless", "app.kubernetes.io/component": "server" };
  const metadata = { name, namespace: SYSTEM_NAMESPACE, labels };
  const securityContext = { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } };
  const spec = {
    securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: "RuntimeDefault" } },
    containers: [{ name: "server", image: "none", securityContext }],
  };
  await server.apply([{ apiVersion: "v1", kind: "Pod", metadata, spec }]);
  const status = JSON.stringify({ status: { podIP: address, podIPs: [{ ip: address }] } });
  await server.kubectl(["patch", "pod", name, "--namespace", SYSTEM_NAMESPACE, "--subresource=status", "--type=merge", "-p", status]);
}

async function findFreePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
