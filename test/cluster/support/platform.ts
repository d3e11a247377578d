import { join } from "node:path";
import { waitFor } from "../../support/server.ts";
import { chartFolder } from "../helm.ts";
import { apply, helmOnCluster, isForeignCluster, kubectl, list, type Pod, readyGateways, SYSTEM_NAMESPACE } from "./cluster.ts";

export const RELEASE = "kube-serverless";
const BROKER_SECRET = "test-broker";
/** A RabbitMQ that the cluster reaches; queue triggers need one. */
const brokerUrl = process.env["KS_TEST_BROKER_URL"];

/** What the chart is installed with in tests. */
export function valuesForTests(): string[] {
  const tag = process.env["KS_TEST_IMAGE_TAG"];
  const values = isForeignCluster ? [] : ["--values", join(import.meta.dirname, "../values.yaml")];
  const broker = brokerUrl === undefined ? [] : [`--set-string=rabbitmq.urlSecret.name=${BROKER_SECRET}`];
  return [...values, ...broker, ...(tag === undefined ? [] : [`--set-string=image.tag=${tag}`])];
}

/** `helm upgrade --install` of the chart as it is in this checkout. */
export async function install(...args: string[]): Promise<string> {
  if (brokerUrl !== undefined) await nameBroker(brokerUrl);
  const release = ["upgrade", "--install", RELEASE, chartFolder, "--namespace", SYSTEM_NAMESPACE, "--create-namespace"];
  return helmOnCluster([...release, ...valuesForTests(), ...args]);
}

/** As somebody would who has a broker already. */
async function nameBroker(url: string): Promise<void> {
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE } });
  const metadata = { name: BROKER_SECRET, namespace: SYSTEM_NAMESPACE };
  await apply({ apiVersion: "v1", kind: "Secret", metadata, stringData: { url } });
}

/** Installs it where it is not, and waits until all of it is ready. */
export async function ensureInstalled(): Promise<void> {
  await install("--wait", "--timeout=5m");
  await untilWhole();
}

/** Removes the release, and what outlives it. */
export async function removeAll(): Promise<void> {
  await helmOnCluster(["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait", "--timeout=3m"]);
  const kinds = ["functions", "functionrevisions", "cronrecords"].map((kind) => `${kind}.kube-serverless.io`);
  await kubectl(["delete", "customresourcedefinitions", ...kinds, "--ignore-not-found", "--timeout=60s"]);
  await kubectl(["delete", "namespace", "kube-serverless", "--ignore-not-found", "--timeout=60s"]);
}

/** Waits until both gateways and every pool are ready, as after a fault. */
export async function untilWhole(limitMs = 180_000): Promise<Pod[]> {
  await waitFor("every pool to be full", async () => (await unreadyDeployments()).length === 0, limitMs);
  return waitFor(
    "two ready gateways",
    async () => {
      const gateways = await readyGateways();
      return gateways.length >= 2 ? gateways : undefined;
    },
    limitMs,
  );
}

async function unreadyDeployments(): Promise<string[]> {
  const deployments = [...(await list("deployments", SYSTEM_NAMESPACE)), ...(await list("deployments", "kube-serverless"))];
  return deployments
    .filter(
      ({ spec, status }) =>
        status.readyReplicas !== (spec.replicas || undefined) || status.updatedReplicas !== (spec.replicas || undefined),
    )
    .map(({ metadata }) => metadata.name);
}

/** Where calls go in: the Service, from a node. */
export async function publicOrigin(): Promise<string> {
  const address = await kubectl([
    "get",
    "service",
    "kube-serverless",
    "--namespace",
    SYSTEM_NAMESPACE,
    "--output",
    "jsonpath={.spec.clusterIP}",
  ]);
  return `http://${address}`;
}

/** One gateway itself, past the Service. */
export function originOf(gateway: Pod): string {
  return `http://${gateway.status.podIP}:8080`;
}
