import { writeFileSync } from "node:fs";
import { join } from "node:path";
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
  tryRemove,
  writeIfThere,
  writeMiB,
} from "./cgroup.ts";

const MIB = 1024 * 1024;

/** Control groups of the first version, where each controller has a tree of its own. */
export function createCgroupV1(own: { memory: string; pids?: string }, name: string): CgroupDriver {
  const memoryParent = makeFolder(join(own.memory, name));
  const pidsParent = own.pids === undefined ? undefined : tryMakeFolder(join(own.pids, name));
  const parents = pidsParent === undefined ? [memoryParent] : [memoryParent, pidsParent];
  return {
    kind: "cgroup-v1",
    boundsProcesses: pidsParent !== undefined,
    parents,
    create: (id, limits) => createGroup(id, limits, memoryParent, pidsParent),
    close: () => {
      for (const parent of parents) tryRemove(parent);
    },
  };
}

function tryMakeFolder(path: string): string | undefined {
  try {
    return makeFolder(path);
  } catch {
    return undefined;
  }
}

function createGroup(id: string, limits: CgroupLimits, memoryParent: string, pidsParent: string | undefined): Cgroup {
  const memory = makeFolder(join(memoryParent, id));
  writeMiB(join(memory, "memory.limit_in_bytes"), limits.memoryMiB);
  // Memory and swap together; only there when the kernel accounts for swap.
  writeIfThere(join(memory, "memory.memsw.limit_in_bytes"), String(limits.memoryMiB * MIB));
  const folders = [memory];
  if (pidsParent !== undefined) {
    const pids = makeFolder(join(pidsParent, id));
    writeFileSync(join(pids, "pids.max"), String(limits.maxProcesses));
    folders.push(pids);
  }
  const kill = () => killAll(folders);
  return {
    joinFiles: folders.map((folder) => join(folder, "cgroup.procs")),
    // What files left in the cache and nobody uses is given back before the limit is felt.
    currentMiB: () => readMiB(join(memory, "memory.usage_in_bytes")) - readKey(join(memory, "memory.stat"), "total_inactive_file") / MIB,
    peakMiB: () => readMiB(join(memory, "memory.max_usage_in_bytes")),
    oomKills: () => readKey(join(memory, "memory.oom_control"), "oom_kill"),
    isEmpty: () => folders.every((folder) => listPids(folder).length === 0),
    kill,
    remove: async () => void (await emptyAndRemove(folders, kill)),
  };
}
