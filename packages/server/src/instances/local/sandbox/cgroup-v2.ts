import { readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  type Cgroup,
  type CgroupDriver,
  type CgroupLimits,
  emptyAndRemove,
  killAll,
  listPids,
  makeFolder,
  readKey,
  readMiB,
  readText,
  tryRemove,
  writeIfThere,
  writeMiB,
} from "./cgroup.ts";

const MIB = 1024 * 1024;
/** Where the server itself moves, as a group with processes can't pass controllers on. */
const SERVER_LEAF = "kube-serverless-server";

/**
 * Control groups of the second version. They are made in the nearest group at or above the server's own that may be
 * written and has no processes of others; undefined where there is none.
 */
export function createCgroupV2(own: { path: string; root: string }, name: string, serverPid: number): CgroupDriver | undefined {
  for (const candidate of listUpwards(own.path, own.root)) {
    const parent = tryPrepare(candidate, own, name, serverPid);
    if (parent !== undefined) return createDriver(parent);
  }
  return undefined;
}

function listUpwards(path: string, root: string): string[] {
  return path === root || !path.startsWith(root) ? [path] : [path, ...listUpwards(dirname(path), root)];
}

function tryPrepare(candidate: string, own: { path: string; root: string }, name: string, serverPid: number): string | undefined {
  try {
    return prepare(candidate, own, name, serverPid);
  } catch {
    return undefined;
  }
}

function prepare(candidate: string, own: { path: string; root: string }, name: string, serverPid: number): string | undefined {
  if (!makeInner(candidate, own.path, serverPid)) return undefined;
  if (!passOn(candidate)) return undefined;
  const parent = makeFolder(join(candidate, name));
  if (passOn(parent)) return parent;
  tryRemove(parent);
  return undefined;
}

/** A group must be free of processes to pass controllers on, but for the root of the machine, which alone has no type. */
function makeInner(group: string, own: string, serverPid: number): boolean {
  const pids = listPids(group);
  if (pids.length === 0 || !readdirSync(group).includes("cgroup.type")) return true;
  if (group !== own || pids.some((pid) => pid !== serverPid)) return false;
  const leaf = makeFolder(join(group, SERVER_LEAF));
  writeFileSync(join(leaf, "cgroup.procs"), String(serverPid));
  return true;
}

function passOn(group: string): boolean {
  const control = join(group, "cgroup.subtree_control");
  if (!hasController(control, "memory")) writeIfThere(control, "+memory");
  if (!hasController(control, "pids")) writeIfThere(control, "+pids");
  return hasController(control, "memory");
}

function hasController(file: string, controller: string): boolean {
  return readText(file).trim().split(" ").includes(controller);
}

function createDriver(parent: string): CgroupDriver {
  return {
    kind: "cgroup-v2",
    boundsProcesses: hasController(join(parent, "cgroup.subtree_control"), "pids"),
    parents: [parent],
    create: (id, limits) => createGroup(makeFolder(join(parent, id)), limits),
    close: () => void tryRemove(parent),
  };
}

function createGroup(folder: string, limits: CgroupLimits): Cgroup {
  writeMiB(join(folder, "memory.max"), limits.memoryMiB);
  writeIfThere(join(folder, "memory.swap.max"), "0");
  // A function of which one process was ended is not left half alive.
  writeIfThere(join(folder, "memory.oom.group"), "1");
  writeIfThere(join(folder, "pids.max"), String(limits.maxProcesses));
  const kill = () => {
    if (!writeIfThere(join(folder, "cgroup.kill"), "1")) killAll([folder]);
  };
  return {
    joinFiles: [join(folder, "cgroup.procs")],
    currentMiB: () => readMiB(join(folder, "memory.current")) - readKey(join(folder, "memory.stat"), "inactive_file") / MIB,
    // Kernels before 5.19 don't keep the peak; the limit was then reached, or it isn't asked for.
    peakMiB: () => readMiB(join(folder, "memory.peak")) || limits.memoryMiB,
    oomKills: () => readKey(join(folder, "memory.events"), "oom_kill"),
    isEmpty: () => listPids(folder).length === 0,
    kill,
    remove: async () => void (await emptyAndRemove([folder], kill)),
  };
}
