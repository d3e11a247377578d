import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { identify, isSameAlive, killQuietly, type ProcessIdentity } from "./process-tree.ts";

const GROUP_PREFIX = "kube-serverless-";

/** `<pid>-<start time>`, which no other process ever has; a sandbox adds which of its process's it is. */
export function nameOwner(identity: ProcessIdentity): string {
  return `${identity.pid}-${identity.startTime}`;
}

export function parseOwner(name: string): ProcessIdentity | undefined {
  const [, pid, startTime] = /^(\d+)-(\d+)(?:-\d+)?$/.exec(name) ?? [];
  return pid === undefined || startTime === undefined ? undefined : { pid: Number(pid), startTime };
}

export function nameOwnedCgroup(owner: string): string {
  return GROUP_PREFIX + owner;
}

/** Whether this is the cgroup of a server that has ended. */
export function isAbandonedCgroup(name: string): boolean {
  if (!name.startsWith(GROUP_PREFIX)) return false;
  const owner = parseOwner(name.slice(GROUP_PREFIX.length));
  return owner !== undefined && !isSameAlive(owner);
}

/** What a server leaves on disk while it lives, so that the next one can clean up after a SIGKILL. */
export class OwnerRecord {
  static #made = 0;

  readonly name: string;
  /** Its own, readable by every user, gone with it. */
  readonly folder: string;

  constructor(runtimeFolder: string) {
    OwnerRecord.#made += 1;
    const identity = identify(process.pid);
    // Under any other name the next server would take this one for dead.
    if (identity === undefined) throw new Error("/proc cannot be read, which tells whether a server still lives");
    this.name = `${nameOwner(identity)}-${OwnerRecord.#made}`;
    this.folder = join(runtimeFolder, "owners", this.name);
    mkdirSync(this.folder, { recursive: true });
    // Sandboxes run as others, who need to reach what is bound from here.
    for (const folder of [runtimeFolder, dirname(this.folder), this.folder]) chmodSync(folder, 0o755);
  }

  /** Notes a process group that would outlive the server; returns how to forget it. */
  noteGroup(pid: number): () => void {
    const identity = identify(pid);
    if (identity === undefined) return () => undefined;
    const path = join(this.folder, `group-${nameOwner(identity)}`);
    writeFileSync(path, "");
    return () => rmSync(path, { force: true });
  }

  noteCgroups(paths: readonly string[]): void {
    writeFileSync(join(this.folder, "cgroups"), paths.join("\n"));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Ends the process groups of servers that have ended, and tells their cgroups. */
export function reapOwners(runtimeFolder: string): { cgroups: string[]; owners: string[] } {
  const folder = join(runtimeFolder, "owners");
  const abandoned = list(folder).filter((name) => {
    const owner = parseOwner(name);
    return owner !== undefined && !isSameAlive(owner);
  });
  const cgroups = abandoned.flatMap((name) => reapOwner(join(folder, name)));
  return { cgroups, owners: abandoned };
}

function reapOwner(folder: string): string[] {
  for (const name of list(folder)) {
    const group = name.startsWith("group-") ? parseOwner(name.slice("group-".length)) : undefined;
    if (group !== undefined && isSameAlive(group)) killQuietly(-group.pid);
  }
  const cgroups = readLines(join(folder, "cgroups"));
  rmSync(folder, { recursive: true, force: true });
  return cgroups;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}
