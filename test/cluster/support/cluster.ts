import { execFile, type PromiseWithChild } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { waitFor } from "../../support/server.ts";
import { clusterFolder, findOnPath } from "../binaries.ts";
import type { Manifest } from "../helm.ts";

const run = promisify(execFile);
const script = join(import.meta.dirname, "../cluster.sh");
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export const SYSTEM_NAMESPACE = "kube-serverless-system";
export const FUNCTIONS_NAMESPACE = "kube-serverless";

export type NodePart = "containerd" | "kubelet" | "proxy" | "netpol";
export type ControlPart = "apiserver" | "etcd" | "controller-manager" | "scheduler" | "dns";

/** Set where `npm run test:cluster` uses the cluster of KUBECONFIG, of which it cannot stop parts or cut wires. */
export const isForeignCluster = process.env["KS_TEST_CLUSTER"] === "foreign";

const kubeconfig = isForeignCluster ? process.env["KUBECONFIG"]! : join(clusterFolder, "state/admin.kubeconfig");

function withInput(running: PromiseWithChild<{ stdout: string; stderr: string }>, input: string): Promise<{ stdout: string }> {
  running.child.stdin?.on("error", () => undefined).end(input);
  return running;
}

/** What kubectl prints. @throws with what it complains of */
export async function kubectl(args: readonly string[], input = ""): Promise<string> {
  const running = run(findOnPath("kubectl")!, ["--kubeconfig", kubeconfig, ...args], { maxBuffer: MAX_OUTPUT_BYTES });
  return (await withInput(running, input)).stdout;
}

/** Applies objects server-side. */
export async function apply(...manifests: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: manifests };
  await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], JSON.stringify(list));
}

/** Every object of a kind with these labels. */
export async function list<T = Manifest>(kind: string, namespace: string, selector = ""): Promise<T[]> {
  const text = await kubectl(["get", kind, "--namespace", namespace, "--selector", selector, "--output", "json"]);
  return (JSON.parse(text) as { items: T[] }).items;
}

export interface Pod extends Manifest {
  metadata: Manifest["metadata"] & { uid: string; deletionTimestamp?: string };
  spec: { nodeName?: string };
  status: {
    phase: string;
    podIP?: string;
    conditions?: { type: string; status: string }[];
    containerStatuses?: { restartCount: number; ready: boolean }[];
  };
}

export function isReady({ status, metadata }: Pod): boolean {
  const ready = status.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True") === true;
  return ready && metadata.deletionTimestamp === undefined;
}

/** Gateways that take calls. */
export async function readyGateways(): Promise<Pod[]> {
  return (await list<Pod>("pods", SYSTEM_NAMESPACE, "app.kubernetes.io/component=server")).filter(isReady);
}

/** Helm against the cluster; what it prints. @throws with what it complains of */
export async function helmOnCluster(args: readonly string[]): Promise<string> {
  return (await run(findOnPath("helm")!, ["--kubeconfig", kubeconfig, ...args], { maxBuffer: MAX_OUTPUT_BYTES })).stdout;
}

/** What a person would do with a node's plug: commands of cluster.sh, for the cluster of our own alone. */
async function control(...args: string[]): Promise<void> {
  await run(script, args, { maxBuffer: MAX_OUTPUT_BYTES });
}

export const cluster = {
  /** Ends a process of the control plane at once. */
  stop: (part: ControlPart | `${NodePart}${number}`) => control("stop", part),
  /** Ends it and starts it again. */
  restart: (part: ControlPart | `${NodePart}${number}`) => control("restart", part),
  /** Takes node 2 off the network, its control plane included. */
  cut: () => control("cut"),
  heal: () => control("heal"),
  /** Ends all of node 2 at once, as a power cut would. */
  lose: () => control("lose", "2"),
  recover: () => control("recover", "2"),
};

/** SIGKILL to what runs in a pod's only container, as the kernel would; resolves when the cluster knows, as until then the pod counts as ready. */
export async function killContainer(pod: Pod, container: string): Promise<void> {
  const restarts = (await find(pod))?.status.containerStatuses?.[0]?.restartCount ?? 0;
  await control("kill-container", pod.spec.nodeName!.replace("node", ""), pod.metadata.uid, container);
  await waitFor(
    `the end of ${pod.metadata.name} to be known`,
    async () => {
      const now = await find(pod);
      const status = now?.status.containerStatuses?.[0];
      return now?.metadata.deletionTimestamp !== undefined || status === undefined || !status.ready || status.restartCount > restarts;
    },
    30_000,
  );
}

/** As it is now; undefined where it is gone. */
async function find({ metadata: { name, namespace, uid } }: Pod): Promise<Pod | undefined> {
  const text = await kubectl(["get", "pod", name, "--namespace", namespace!, "--ignore-not-found", "--output=json"]);
  const found = text === "" ? undefined : (JSON.parse(text) as Pod);
  return found?.metadata.uid === uid ? found : undefined;
}
