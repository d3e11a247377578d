import type { KubernetesObject, ObjectMeta, Persisted } from "../../kubernetes/resource.ts";
import { buildClassLabels, POD_LABELS, type PodClass, readPodClass } from "./pod.ts";

/** Waiting pods at least; an annotation of the Deployment, as its `spec.replicas` is the leader's. */
const MIN_SIZE = "kube-serverless.io/pool-size";

interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec?: {
    containers?: {
      image?: string;
      env?: { name: string; value?: string }[];
      resources?: { limits?: Record<string, string> };
    }[];
  };
}

/** The fields of a Deployment that are read. */
export interface DeploymentObject extends KubernetesObject {
  spec?: { replicas?: number; template?: PodTemplate };
}

/** A Deployment of waiting pods. */
export interface PoolDeployment {
  metadata: ObjectMeta & { uid: string; resourceVersion: string };
  podClass: PodClass;
  minSize: number;
  replicas: number;
  image: string;
  template: PodTemplate;
}

export function viewPoolDeployment({ metadata, spec }: Persisted<DeploymentObject>): PoolDeployment {
  const { name, uid, resourceVersion, labels = {}, annotations = {} } = metadata;
  const minSize = Number(annotations[MIN_SIZE]);
  return {
    metadata: { name, uid, resourceVersion },
    podClass: readPodClass(labels),
    minSize: Number.isInteger(minSize) && minSize >= 0 ? minSize : 1,
    replicas: spec?.replicas ?? 1,
    image: spec?.template?.spec?.containers?.[0]?.image ?? "",
    template: spec?.template ?? {},
  };
}

/** A pod of a class that may have no pool of its own, after the template of another pool of its runtime. */
export function buildDirectPod(
  { template }: PoolDeployment,
  podClass: PodClass,
  owner: { uid: string; reference: object },
): KubernetesObject & { spec: object } {
  const labels: Record<string, string> = {
    ...template.metadata?.labels,
    ...buildClassLabels(podClass),
    [POD_LABELS.functionUid]: owner.uid,
  };
  delete labels[POD_LABELS.pool];
  const [container, ...others] = template.spec?.containers ?? [];
  const env = (container?.env ?? []).filter(({ name }) => name !== "KS_MEMORY_MIB");
  const limits = { ...container?.resources?.limits, memory: `${podClass.memoryMiB}Mi` };
  return {
    metadata: {
      name: "",
      generateName: `${podClass.runtime}-${podClass.memoryMiB}-`,
      labels,
      annotations: template.metadata?.annotations ?? {},
      ownerReferences: [owner.reference],
    } as KubernetesObject["metadata"],
    spec: {
      ...template.spec,
      containers: [
        {
          ...container,
          env: [...env, { name: "KS_MEMORY_MIB", value: String(podClass.memoryMiB) }],
          resources: { ...container?.resources, limits },
        },
        ...others,
      ],
    },
  };
}
