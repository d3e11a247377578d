/** Fields of `metadata` that the platform reads or writes. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: readonly OwnerReference[];
  finalizers?: readonly string[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** Any object of the API. */
export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** An object as the API server gives it back: it has a name, a uid and a version. */
export type Persisted<T extends KubernetesObject> = T & {
  metadata: ObjectMeta & { uid: string; resourceVersion: string; creationTimestamp: string };
};

/** A kind of objects, in one namespace or (undefined) of the cluster. */
export interface Resource {
  /** `v1`, `apps/v1` */
  apiVersion: string;
  kind: string;
  plural: string;
  namespace?: string;
}

/** Path of the collection, or of one object of it and perhaps a subresource. */
export function buildPath({ apiVersion, plural, namespace }: Resource, name?: string, subresource?: string): string {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const parts = [...(namespace === undefined ? [] : ["namespaces", namespace]), plural];
  if (name !== undefined) parts.push(name);
  if (subresource !== undefined) parts.push(subresource);
  return `${root}/${parts.map(encodeURIComponent).join("/")}`;
}
