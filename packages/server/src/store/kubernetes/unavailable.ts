import { KsError } from "@kube-serverless/contracts";
import { ApiError, isUnavailable } from "../../kubernetes/api-error.ts";

/** What a caller is told of a failed request to the API server. */
export function toStoreError(error: unknown): unknown {
  if (!(error instanceof ApiError)) return error;
  if (isUnavailable(error)) {
    return new KsError("STORE_UNAVAILABLE", {
      message: "The Kubernetes API server cannot be asked now; calls go on, changes wait for it",
      retryAfterMs: error.retryAfterMs ?? 1000,
      cause: error,
    });
  }
  if (error.status === 403) {
    return new KsError("STORE_UNAVAILABLE", { message: `The gateway lacks a right in the cluster: ${error.message}`, cause: error });
  }
  if (error.status === 422 || error.status === 400 || error.status === 413) {
    return new KsError("INVALID_REQUEST", { details: [{ path: "", message: `the cluster refuses it: ${error.message}` }], cause: error });
  }
  if (error.status === 409) {
    return new KsError("STORE_UNAVAILABLE", { message: "Others changed it at the same time. Try again", retryAfterMs: 100, cause: error });
  }
  return new KsError("INTERNAL", { message: `The Kubernetes API server answered ${error.status}: ${error.message}`, cause: error });
}

/** Runs a request, its failures told as KsErrors. */
export async function asking<T>(request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw toStoreError(error);
  }
}
