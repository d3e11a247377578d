import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { killQuietly } from "./process-tree.ts";

export interface CgroupLimits {
  memoryMiB: number;
  maxProcesses: number;
}

/** The control group of one sandbox: its limits, its use, and all its processes. */
export interface Cgroup {
  /** A process that writes `0` into each of these is in it. */
  readonly joinFiles: readonly string[];
  currentMiB(): number;
  peakMiB(): number;
  /** How many of its processes the kernel ended for want of memory. */
  oomKills(): number;
  isEmpty(): boolean;
  kill(): void;
  /** Waits for the last process to be gone, killing what is left, then removes it. */
  remove(): Promise<void>;
}

/** Makes control groups below a folder of the server's own. */
export interface CgroupDriver {
  readonly kind: "cgroup-v1" | "cgroup-v2";
  readonly boundsProcesses: boolean;
  /** The folders below which all its groups lie. */
  readonly parents: readonly string[];
  create(id: string, limits: CgroupLimits): Cgroup;
  /** Removes the parents, as far as every group in them is gone. */
  close(): void;
}

const MIB = 1024 * 1024;
const REMOVE_TIMEOUT_MS = 5_000;

export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

export function readMiB(path: string): number {
  return Number(readText(path)) / MIB || 0;
}

/** The number behind a key in files such as `memory.events`. */
export function readKey(path: string, key: string): number {
  const line = readText(path)
    .split("\n")
    .find((candidate) => candidate.startsWith(`${key} `));
  return Number(line?.slice(key.length + 1) ?? 0);
}

export function listPids(folder: string): number[] {
  return readText(join(folder, "cgroup.procs")).split("\n").filter(Boolean).map(Number);
}

export function writeMiB(path: string, mib: number): void {
  writeFileSync(path, String(mib * MIB));
}

/** Writes what not every kernel has. */
export function writeIfThere(path: string, value: string): boolean {
  try {
    writeFileSync(path, value);
    return true;
  } catch {
    return false;
  }
}

export function makeFolder(path: string): string {
  mkdirSync(path, { recursive: true });
  return path;
}

function listGroups(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  } catch {
    return [];
  }
}

export function tryRemove(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT";
  }
}

/** Kills all in the folders until none is left, then removes them; a process stuck in the kernel may keep one. */
export async function emptyAndRemove(folders: readonly string[], kill: () => void): Promise<boolean> {
  const deadlineMs = performance.now() + REMOVE_TIMEOUT_MS;
  let waitMs = 1;
  for (;;) {
    const left = folders.filter((folder) => listPids(folder).length > 0 || !tryRemove(folder));
    if (left.length === 0) return true;
    if (performance.now() > deadlineMs) return false;
    kill();
    await delay(waitMs);
    waitMs = Math.min(waitMs * 2, 20);
  }
}

export function killAll(folders: readonly string[]): void {
  for (const pid of folders.flatMap(listPids)) killQuietly(pid);
}

/** Ends and removes a whole tree of groups that nobody owns any more. */
export async function removeAbandoned(folder: string): Promise<void> {
  await Promise.all(listGroups(folder).map(removeAbandoned));
  await emptyAndRemove([folder], () => killAll([folder]));
}
