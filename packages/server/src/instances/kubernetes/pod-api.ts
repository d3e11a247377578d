import type { ApiClient } from "../../kubernetes/api-client.ts";
import { hasStatus } from "../../kubernetes/api-error.ts";
import { buildPath, type KubernetesObject, type OwnerReference, type Resource } from "../../kubernetes/resource.ts";
import type { RevisionRef } from "../port.ts";
import { POD_LABELS, type PodObject, type PodView, viewPod } from "./pod.ts";

const FUNCTION_API_VERSION = "kube-serverless.io/v1alpha1";

/** Which pod, and no other of its name. */
export interface PodRef {
  name: string;
  uid: string;
  /** Nothing happens where it has changed since. */
  resourceVersion?: string;
}

/** What is written about pods. Each rejects where the API server is away, and is tried again by whoever calls. */
export interface PodApi {
  /** The pod belongs to the function from now on. Resolves with false where there is no such pod any more. */
  claim(pod: PodRef, revision: RevisionRef): Promise<boolean>;
  /** Resolves also where there is no such pod any more, or it has changed. */
  delete(pod: PodRef, graceSeconds: number | undefined): Promise<void>;
  create(pod: KubernetesObject): Promise<PodView>;
  /** Sets how many pods of a Deployment wait. */
  scale(deployment: string, replicas: number): Promise<void>;
}

/** The owner reference by which pods follow their function when it is deleted. */
export function buildFunctionReference(revision: Pick<RevisionRef, "name" | "uid">): OwnerReference {
  return {
    apiVersion: FUNCTION_API_VERSION,
    kind: "Function",
    name: revision.name,
    uid: revision.uid,
    controller: true,
    blockOwnerDeletion: false,
  };
}

/** Pods of one namespace, by the API server. */
export function createPodApi(client: ApiClient, namespace: string): PodApi {
  const pods: Resource = { apiVersion: "v1", kind: "Pod", plural: "pods", namespace };
  const deployments: Resource = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments", namespace };
  return {
    async claim({ name, uid }, revision) {
      // One merge, so that the ReplicaSet never sees a pod without pool and with its own reference.
      const metadata = {
        uid,
        labels: { [POD_LABELS.pool]: null, [POD_LABELS.functionUid]: revision.uid, [POD_LABELS.revision]: String(revision.revision) },
        ownerReferences: [buildFunctionReference(revision)],
      };
      try {
        await client.merge(pods, name, { metadata });
        return true;
      } catch (error) {
        if (hasStatus(error, 404) || hasStatus(error, 409)) return false;
        throw error;
      }
    },
    async delete({ name, uid, resourceVersion }, graceSeconds) {
      const preconditions = { uid, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
      try {
        await client.delete(pods, name, { preconditions, ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }) });
      } catch (error) {
        if (!hasStatus(error, 409)) throw error;
      }
    },
    async create(pod) {
      return viewPod(await client.create<PodObject>(pods, pod));
    },
    async scale(deployment, replicas) {
      await client.request("PATCH", buildPath(deployments, deployment, "scale"), {
        body: { spec: { replicas } },
        contentType: "application/merge-patch+json",
      });
    },
  };
}
