import { readdirSync, readFileSync } from "node:fs";

/** CPU time of one process; seconds. */
export interface ProcessTimes {
  pid: number;
  parent: number;
  /** Its own. */
  self: number;
  /** Of its children that have ended and been waited for, and theirs. */
  endedChildren: number;
}

/** Ticks of /proc: USER_HZ is 100 on every Linux that Node.js runs on. */
export const TICKS_PER_SECOND = 100;

/** One line of /proc/PID/stat; the name of the program, in brackets, may hold anything. */
export function parseProcessStat(text: string): ProcessTimes {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const seconds = (index: number): number => Number(fields[index]) / TICKS_PER_SECOND;
  return {
    pid: Number.parseInt(text, 10),
    parent: Number(fields[1]),
    self: seconds(11) + seconds(12),
    endedChildren: seconds(13) + seconds(14),
  };
}

/** Every process of the machine. */
export function readProcesses(): ProcessTimes[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [parseProcessStat(readFileSync(`/proc/${pid}/stat`, "utf8"))];
      } catch {
        // It has ended since the folder was read.
        return [];
      }
    });
}

/** Those that descend from `root`, without itself, parents first. */
export function findDescendants(root: number, processes: readonly ProcessTimes[]): ProcessTimes[] {
  const byParent = Map.groupBy(processes, ({ parent }) => parent);
  const found: ProcessTimes[] = [];
  const open = [root];
  for (let pid = open.shift(); pid !== undefined; pid = open.shift()) {
    for (const child of byParent.get(pid) ?? []) {
      found.push(child);
      open.push(child.pid);
    }
  }
  return found;
}

/** CPU seconds of a process tree so far: those that are there, and those that have ended within it. */
export function treeSeconds(root: number, processes: readonly ProcessTimes[]): { root: number; below: number } {
  const own = processes.find(({ pid }) => pid === root);
  if (own === undefined) throw new Error(`process ${root} has ended`);
  const descendants = findDescendants(root, processes);
  const below = descendants.reduce((sum, { self, endedChildren }) => sum + self + endedChildren, own.endedChildren);
  return { root: own.self, below };
}
