import { readFileSync } from "node:fs";
import { findDescendants, readProcesses } from "./process-times.ts";

/** Proportional set size: pages that several processes share are divided among them. */
export function readPssBytes(pid: number): number {
  return readKibibytes(`/proc/${pid}/smaps_rollup`, "Pss");
}

/** Resident set size. */
export function readRssBytes(pid: number): number {
  return readKibibytes(`/proc/${pid}/status`, "VmRSS");
}

function readKibibytes(path: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(readFileSync(path, "utf8"));
  if (match === null) throw new Error(`${path} has no ${field}`);
  return Number(match[1]) * 1024;
}

/** One sandboxed replica: the program within, and that with the sandbox around it. */
export interface ReplicaMemory {
  programBytes: number;
  treeBytes: number;
}

/** Memory of every child tree of `serverPid` that ends in a program whose command line has `marker`. */
export function readReplicaMemory(serverPid: number, marker: string): ReplicaMemory[] {
  const processes = readProcesses();
  const roots = processes.filter(({ parent }) => parent === serverPid);
  return roots.flatMap(({ pid }) => {
    const tree = [pid, ...findDescendants(pid, processes).map((process) => process.pid)];
    const program = tree.at(-1)!;
    if (!readCommandLine(program).includes(marker)) return [];
    const sizes = tree.map(readPssBytes);
    return [{ programBytes: sizes.at(-1)!, treeBytes: sizes.reduce((sum, size) => sum + size, 0) }];
  });
}

function readCommandLine(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
}
