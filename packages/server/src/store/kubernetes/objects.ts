import { API_VERSION } from "@kube-serverless/contracts";
import type { FunctionState } from "@kube-serverless/contracts";
import type { KubernetesObject, Resource } from "../../kubernetes/resource.ts";

export interface CodeReference {
  configMapKeyRef: { name: string; key: string };
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  observedGeneration: number;
  lastTransitionTime: string;
  reason: string;
  message: string;
}

export interface FunctionObjectStatus {
  state?: FunctionState;
  observedGeneration?: number;
  revision?: number;
  servedGeneration?: number;
  wantedRevision?: number;
  wantedHash?: string;
  reason?: string;
  message?: string;
  runtimeVersion?: string;
  lastDeployment?: string;
  lastInvocation?: string;
  endpoint?: string;
  replicas?: number;
  readyReplicas?: number;
  admittedPaths?: string[];
  counters?: string;
  conditions?: Condition[];
}

/** `kind: Function` */
export interface FunctionObject extends KubernetesObject {
  spec: Record<string, unknown> & { code?: string; codeFrom?: CodeReference };
  status?: FunctionObjectStatus;
}

/** `kind: FunctionRevision` */
export interface RevisionObject extends KubernetesObject {
  spec: { function: string; revision: number; generation: number; settings: string; code: string; codeHash: string };
}

export interface ConfigMapObject extends KubernetesObject {
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
  immutable?: boolean;
}

export interface ServiceObject extends KubernetesObject {
  spec: { type: string; externalName?: string; ports?: { name?: string; port: number; targetPort?: number | string; protocol?: string }[] };
}

/** `kind: CronRecord` */
export interface CronRecordObject extends KubernetesObject {
  triggers?: { id: string; runs: string[] }[];
}

/** Set by the platform on what it makes for a function. */
export const FUNCTION_UID_LABEL = "kube-serverless.io/function-uid";
export const FUNCTION_LABEL = "kube-serverless.io/function";
/** On ConfigMaps that the REST API made, so that it may remove them. */
export const MADE_BY_LABEL = "kube-serverless.io/made-by";
export const MADE_BY_API = "api";
/** Another value has the same spec built again. */
export const REDEPLOY_ANNOTATION = "kube-serverless.io/redeploy";

/** Who changes specs for the REST API. */
export const API_MANAGER = "kube-serverless-api";
/** Who writes status and what stands beside a function. */
export const OWNER_MANAGER = "kube-serverless-owner";

export interface Resources {
  functions: Resource;
  revisions: Resource;
  cronRecords: Resource;
  configMaps: Resource;
  services: Resource;
  events: Resource;
}

export function resourcesIn(namespace: string): Resources {
  return {
    functions: { apiVersion: API_VERSION, kind: "Function", plural: "functions", namespace },
    revisions: { apiVersion: API_VERSION, kind: "FunctionRevision", plural: "functionrevisions", namespace },
    cronRecords: { apiVersion: API_VERSION, kind: "CronRecord", plural: "cronrecords", namespace },
    configMaps: { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", namespace },
    services: { apiVersion: "v1", kind: "Service", plural: "services", namespace },
    events: { apiVersion: "events.k8s.io/v1", kind: "Event", plural: "events", namespace },
  };
}

/** Ties what is made for a function to it: it goes when the function goes. */
export function ownedBy(name: string, uid: string): NonNullable<KubernetesObject["metadata"]["ownerReferences"]>[number] {
  return { apiVersion: API_VERSION, kind: "Function", name, uid, controller: true, blockOwnerDeletion: false };
}
