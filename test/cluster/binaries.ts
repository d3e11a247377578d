import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Where `cluster.sh build` keeps what it compiled, and a running cluster its state. */
export const clusterFolder =
  process.env["CLUSTER_DIR"] ?? join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "kube-serverless-cluster");

/** Every part of the control plane in one program: its first argument says which. */
export const kubetest = join(clusterFolder, "bin/kubetest");

/** The program itself, or undefined where it is on no folder of PATH. */
export function findOnPath(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), join(clusterFolder, "bin"), "/usr/sbin", "/usr/local/go/bin"];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
