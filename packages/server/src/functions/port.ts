import type { FunctionSpec } from "@kube-serverless/contracts";
import type { StoredFunction } from "../store/port.ts";

/** `If-Match`: undefined when absent, `*` for any. */
export type IfMatch = string | undefined;

/** What the control API shows of a function beside what is stored. */
export interface FunctionView {
  stored: StoredFunction;
  replicas: number;
  readyReplicas: number;
  /** ISO 8601, undefined before the first. */
  lastInvocation: string | undefined;
}

/** The use-cases of the control API. All writes resolve once durable. */
export interface FunctionService {
  /** Sorted by name. */
  list(): FunctionView[] | Promise<FunctionView[]>;
  /** @throws KsError `FUNCTION_NOT_FOUND` */
  get(name: string): FunctionView | Promise<FunctionView>;
  readCode(name: string): Promise<string>;
  /** The spec has passed every local check. @throws KsError `FUNCTION_EXISTS`, `ROUTE_CONFLICT`, `STORE_UNAVAILABLE`, `DRAINING`, `INVALID_REQUEST` (runtime not there) */
  create(spec: FunctionSpec): Promise<FunctionView>;
  /** @throws the same, `FUNCTION_NOT_FOUND`, `PRECONDITION_FAILED` */
  update(name: string, spec: FunctionSpec, ifMatch: IfMatch): Promise<FunctionView>;
  /** Resolves when the calls within have ended. @throws KsError `FUNCTION_NOT_FOUND`, `PRECONDITION_FAILED`, `STORE_UNAVAILABLE` */
  delete(name: string, ifMatch: IfMatch): Promise<void>;
}

/** Gone for new calls, while those within end. */
export function showDeleting(view: FunctionView): FunctionView {
  return { ...view, stored: { ...view.stored, status: { ...view.stored.status, state: "deleting" } } };
}

/** Strong entity tag of a function's spec (RFC 9110, 8.8.3). */
export function buildEtag(stored: Pick<StoredFunction, "uid" | "generation">): string {
  return `"${stored.uid}-${stored.generation}"`;
}
