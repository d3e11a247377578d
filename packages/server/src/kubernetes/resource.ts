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

// The API server decodes `%2F` before it splits: a name with a slash would choose a subresource.
const NAME = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/;

/** Path of the collection, or of one object of it and perhaps a subresource. @throws Error for a name that no object has */
export function buildPath({ apiVersion, plural, namespace }: Resource, name?: string, subresource?: string): string {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const parts = [...(namespace === undefined ? [] : ["namespaces", namespace]), plural];
  if (name !== undefined && !NAME.test(name)) throw new Error(`No ${plural} has the name ${JSON.stringify(name.slice(0, 100))}`);
  if (name !== undefined) parts.push(name);
  if (subresource !== undefined) parts.push(subresource);
  return `${root}/${parts.map(encodeURIComponent).join("/")}`;
}
