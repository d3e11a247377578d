import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { projectFolder } from "../support/server.ts";
import { findOnPath } from "./binaries.ts";

export const chartFolder = join(projectFolder, "deploy/helm/kube-serverless");

/** Of the cluster that `cluster.sh` starts; Helm takes some other one where it can ask none. */
const KUBERNETES_VERSION = "1.34.4";

/** An object of Kubernetes, as far as tests look at every kind. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  // oxlint-disable-next-line typescript/no-explicit-any -- each kind has its own fields, and the API server checks them.
  [field: string]: any;
}

/** Why there is no Helm, or undefined where there is. */
export function helmMissing(): string | undefined {
  return findOnPath("helm") === undefined ? "needs Helm: test/cluster/cluster.sh build" : undefined;
}

/** What Helm prints. @throws with what it complains of */
export async function helm(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<string> {
  const options = { env: { ...process.env, ...environment }, maxBuffer: 64 * 1024 * 1024 };
  return (await promisify(execFile)(findOnPath("helm")!, args, options)).stdout;
}

/** The chart's objects with these values, in a namespace `kube-serverless-system` and without asking a cluster. */
export async function renderChart(...args: string[]): Promise<Manifest[]> {
  const release = ["template", "kube-serverless", chartFolder, "--namespace", "kube-serverless-system"];
  return parseManifests(await helm([...release, "--kube-version", KUBERNETES_VERSION, ...args]));
}

export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
}
