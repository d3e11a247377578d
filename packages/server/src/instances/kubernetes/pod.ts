import type { KubernetesObject, ObjectMeta, OwnerReference, Persisted } from "../../kubernetes/resource.ts";

const PREFIX = "kube-serverless.io/";
/** Labels of pods. A claim takes `pool` away and adds the last two; the others never change, as NetworkPolicies select by them. */
export const POD_LABELS = {
  pool: `${PREFIX}pool`,
  runtime: `${PREFIX}runtime`,
  memory: `${PREFIX}memory`,
  network: `${PREFIX}network`,
  functionUid: `${PREFIX}function-uid`,
  revision: `${PREFIX}revision`,
} as const;
const COMPONENT = "app.kubernetes.io/component";
/** The port of frames in every pod. */
export const FRAMES_PORT = 7070;

/** What a pod is made for. */
export interface PodClass {
  runtime: string;
  memoryMiB: number;
  network: "outbound" | "none";
  /** Compiles rather than runs. */
  isBuilder: boolean;
}

export function podClassKey({ runtime, memoryMiB, network, isBuilder }: PodClass): string {
  return isBuilder ? `${runtime}/builder` : `${runtime}@${memoryMiB}/${network}`;
}

/** How a container ended. */
export interface ContainerEnd {
  exitCode: number;
  reason: string;
  /** The last lines that it wrote, where the pod asks for them. */
  message: string;
}

/** What is known of a pod from the API server. */
export interface PodView {
  metadata: ObjectMeta & { uid: string; resourceVersion: string };
  podClass: PodClass;
  /** Of a pod that waits for a function: its Deployment's selector. */
  pool: string | undefined;
  functionUid: string | undefined;
  revision: number | undefined;
  controller: OwnerReference | undefined;
  ip: string | undefined;
  image: string;
  /** Its container runs. */
  isRunning: boolean;
  /** It was told to go. */
  isLeaving: boolean;
  restarts: number;
  end: ContainerEnd | undefined;
  /** Why it does not run yet, in the cluster's words. */
  obstacle: string | undefined;
}

interface ContainerState {
  running?: object;
  waiting?: { reason?: string; message?: string };
  terminated?: { exitCode: number; reason?: string; message?: string };
}

/** The fields of a Pod that are read. */
export interface PodObject extends KubernetesObject {
  spec?: { containers?: { image?: string }[] };
  status?: {
    podIP?: string;
    phase?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
    containerStatuses?: { restartCount?: number; state?: ContainerState; lastState?: ContainerState }[];
  };
}

/** Takes what is needed of a Pod, as thousands are kept. */
export function viewPod({ metadata, spec, status }: Persisted<PodObject>): PodView {
  const { name, uid, resourceVersion, labels = {}, deletionTimestamp } = metadata;
  return {
    metadata: { name, uid, resourceVersion },
    podClass: readPodClass(labels),
    pool: labels[POD_LABELS.pool],
    functionUid: labels[POD_LABELS.functionUid],
    revision: readRevision(labels[POD_LABELS.revision]),
    controller: metadata.ownerReferences?.find((owner) => owner.controller === true),
    image: spec?.containers?.[0]?.image ?? "",
    isLeaving: deletionTimestamp !== undefined || status?.phase === "Failed" || status?.phase === "Succeeded",
    ...viewStatus(status),
  };
}

function viewStatus(status: PodObject["status"]): Pick<PodView, "ip" | "isRunning" | "restarts" | "end" | "obstacle"> {
  const container = status?.containerStatuses?.[0];
  return {
    ip: status?.podIP,
    isRunning: container?.state?.running !== undefined,
    restarts: container?.restartCount ?? 0,
    end: findEnd(container?.state, container?.lastState),
    obstacle: findObstacle(status),
  };
}

function readRevision(label: string | undefined): number | undefined {
  const revision = Number(label);
  return Number.isInteger(revision) && revision > 0 ? revision : undefined;
}

/** The class that labels tell, a pod's or a Deployment's. */
export function readPodClass(labels: Readonly<Record<string, string>>): PodClass {
  return {
    runtime: labels[POD_LABELS.runtime] ?? "",
    memoryMiB: Number(labels[POD_LABELS.memory] ?? 0),
    network: labels[POD_LABELS.network] === "none" ? "none" : "outbound",
    isBuilder: labels[COMPONENT] === "builder",
  };
}

/** The labels of a pod of this class, beside those that it has. */
export function buildClassLabels({ runtime, memoryMiB, network, isBuilder }: PodClass): Record<string, string> {
  return {
    [COMPONENT]: isBuilder ? "builder" : "replica",
    [POD_LABELS.runtime]: runtime,
    [POD_LABELS.memory]: String(memoryMiB),
    [POD_LABELS.network]: network,
  };
}

function findEnd(...states: (ContainerState | undefined)[]): ContainerEnd | undefined {
  const terminated = states.find((state) => state?.terminated !== undefined)?.terminated;
  if (terminated === undefined) return undefined;
  return { exitCode: terminated.exitCode, reason: terminated.reason ?? "", message: (terminated.message ?? "").slice(-4096) };
}

function findObstacle(status: PodObject["status"]): string | undefined {
  const waiting = status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting?.reason !== undefined && waiting.reason !== "ContainerCreating") return `${waiting.reason}: ${waiting.message ?? ""}`;
  const unscheduled = status?.conditions?.find(({ type, status: value }) => type === "PodScheduled" && value === "False");
  return unscheduled === undefined ? undefined : `${unscheduled.reason ?? "not scheduled"}: ${unscheduled.message ?? ""}`;
}
