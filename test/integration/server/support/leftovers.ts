import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findOwnCgroups } from "../../../../packages/server/src/instances/local/sandbox/find-cgroups.ts";
import { defaultRuntimeFolder } from "../../../../packages/server/src/instances/local/sandbox/options.ts";
import { parseOwner } from "../../../../packages/server/src/instances/local/sandbox/owner.ts";
import { isSameAlive, type ProcessIdentity } from "../../../../packages/server/src/instances/local/sandbox/process-tree.ts";

/** A server that is dead, by what it left behind. */
export interface DeadServer {
  pid: number;
  dataFolder: string;
  /** Process groups that it noted. */
  groups: readonly ProcessIdentity[];
}

/** To be called between its death and the next start, which removes its notes. */
export function describeDead(pid: number, dataFolder: string): DeadServer {
  const groups = listOwnerFolders(pid, dataFolder)
    .flatMap((folder) => list(folder))
    .filter((name) => name.startsWith("group-"))
    .map((name) => parseOwner(name.slice("group-".length)))
    .filter((identity) => identity !== undefined);
  return { pid, dataFolder, groups };
}

/** Whatever is left of a dead server once the next one has started: folders, control groups, processes. */
export function findLeftovers({ pid: serverPid, dataFolder, groups }: DeadServer): string[] {
  return [
    ...listOwnerFolders(serverPid, dataFolder),
    ...listCgroups(serverPid),
    ...listMembers(serverPid),
    ...groups.filter(isSameAlive).map(({ pid }) => `process ${pid}`),
  ];
}

/** Where servers note what would outlive them. */
export function ownersFolder(dataFolder: string): string {
  const runAsRoot = process.getuid?.() === 0;
  return join(defaultRuntimeFolder({ runAsRoot, xdgRuntimeFolder: process.env["XDG_RUNTIME_DIR"], dataFolder }), "owners");
}

function listOwnerFolders(serverPid: number, dataFolder: string): string[] {
  const folder = ownersFolder(dataFolder);
  return list(folder)
    .filter((name) => name.startsWith(`${serverPid}-`))
    .map((name) => join(folder, name));
}

function listCgroups(serverPid: number): string[] {
  const own = findOwnCgroups(readFileSync("/proc/self/cgroup", "utf8"), readFileSync("/proc/self/mountinfo", "utf8"));
  const folders = [own.memory, own.pids, own.unified?.path].filter((folder) => folder !== undefined);
  return folders.flatMap((folder) =>
    list(folder)
      .filter((name) => name.startsWith(groupPrefix(serverPid)))
      .map((name) => join(folder, name)),
  );
}

/** Live processes in the server's control groups. */
function listMembers(serverPid: number): string[] {
  return list("/proc")
    .filter((name) => /^\d+$/.test(name) && readQuietly(`/proc/${name}/cgroup`).includes(groupPrefix(serverPid)))
    .map((pid) => `process ${pid}`);
}

function groupPrefix(serverPid: number): string {
  return `kube-serverless-${serverPid}-`;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
