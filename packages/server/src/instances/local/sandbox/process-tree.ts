import { readdirSync, readFileSync } from "node:fs";

const PAGE_KIB = 4;

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    // The process has ended, or there is no /proc at all (macOS).
    return undefined;
  }
}

function listThreads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function readChildren(pid: number, threads: readonly string[]): number[] {
  return threads.flatMap((thread) => (readProc(`/proc/${pid}/task/${thread}/children`) ?? "").split(" ").filter(Boolean).map(Number));
}

/**
 * The process and everything below it. Children of threads other than the main one are looked for with `everyThread`
 * alone, as that reads a file a thread.
 */
export function listTree(pid: number, everyThread: boolean): number[] {
  const found = [pid];
  for (const parent of found) {
    const threads = everyThread ? listThreads(parent) : [String(parent)];
    found.push(...readChildren(parent, threads));
  }
  return found;
}

/** Resident set size in MiB: cheap, and never below the proportional one. */
export function readRssMiB(pid: number): number {
  const pages = Number(readProc(`/proc/${pid}/statm`)?.split(" ")[1] ?? 0);
  return (pages * PAGE_KIB) / 1024;
}

/** Proportional set size in MiB: walks the page tables, about a millisecond for 50 MiB. */
export function readPssMiB(pid: number): number {
  const kib = /^Pss: +(\d+) kB$/m.exec(readProc(`/proc/${pid}/smaps_rollup`) ?? "")?.[1];
  return kib === undefined ? readRssMiB(pid) : Number(kib) / 1024;
}

/** Names one process for ever: its pid may be given out again, its start time with it not. */
export function readStartTime(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  // The name of the program, in brackets, may hold anything.
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

/** A process that cannot be mistaken for a later one of the same pid. */
export interface ProcessIdentity {
  pid: number;
  startTime: string;
}

export function identify(pid: number): ProcessIdentity | undefined {
  const startTime = readStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

export function isSameAlive(identity: ProcessIdentity): boolean {
  return readStartTime(identity.pid) === identity.startTime && isAlive(identity.pid);
}

/** SIGKILL, and no complaint where there is nothing left to kill. A negative pid is a group. */
export function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is gone.
  }
}

/** Whether it has not ended; one that waits for its parent to notice has. */
export function isAlive(pid: number): boolean {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === undefined) return false;
  const state = stat[stat.lastIndexOf(")") + 2];
  return state !== "Z" && state !== "X";
}

/** Live processes of a process group. */
export function listGroup(group: number): number[] {
  let entries: string[];
  try {
    entries = readdirSync("/proc");
  } catch {
    return [];
  }
  return entries
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => readGroup(pid) === group && isAlive(pid));
}

function readGroup(pid: number): number | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]);
}
