import { z } from "zod";

/** RFC 1035 label, as Kubernetes Services need it; `kube-` is kept for the platform. */
export const FunctionName = z
  .string()
  .min(1)
  .max(50)
  .regex(/^[a-z]([a-z0-9-]*[a-z0-9])?$/, "must be lower-case letters, digits and '-', beginning with a letter, not ending with '-'")
  .refine((name) => !name.startsWith("kube-"), "must not begin with 'kube-'")
  .meta({ id: "FunctionName", description: "The function's name: an RFC 1035 label of 1 to 50 characters", examples: ["hello-world"] });
export type FunctionName = z.infer<typeof FunctionName>;

export const ENDPOINT_SUFFIX = "kube-serverless.svc.cluster.local";

/** The documented address of a function: resolves in a cluster, routed by its Host header everywhere. */
export function buildEndpoint(name: string): string {
  return `${name}.${ENDPOINT_SUFFIX}`;
}
