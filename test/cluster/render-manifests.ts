import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { projectFolder } from "../support/server.ts";
import { type Manifest, renderChart } from "./helm.ts";

export const manifestsFile = join(projectFolder, "deploy/manifests/kube-serverless.yaml");

/** The chart with its default values as one file for kubectl: without what Helm alone reads, and with the namespace that Helm is told. */
export async function renderManifests(): Promise<string> {
  const namespace: Manifest = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "kube-serverless-system", labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
  };
  const manifests = [namespace, ...(await renderChart("--no-hooks")).map(forgetHelm)];
  const documents = manifests.map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false }));
  return `# Written by test/cluster/render-manifests.ts from deploy/helm; change the chart, not this file.\n---\n${documents.join("---\n")}`;
}

function forgetHelm(manifest: Manifest): Manifest {
  const copy = structuredClone(manifest);
  for (const metadata of [copy.metadata, copy["spec"]?.template?.metadata as Manifest["metadata"] | undefined]) {
    for (const key of ["helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance"]) delete metadata?.labels?.[key];
    delete metadata?.annotations?.["helm.sh/resource-policy"];
    if (Object.keys(metadata?.annotations ?? { one: "" }).length === 0) delete metadata?.annotations;
  }
  return copy;
}

if (import.meta.main) writeFileSync(manifestsFile, await renderManifests());
