import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type CgroupDriver, removeAbandoned } from "./cgroup.ts";
import { createCgroupV1 } from "./cgroup-v1.ts";
import { createCgroupV2 } from "./cgroup-v2.ts";
import { findOwnCgroups } from "./find-cgroups.ts";
import { isAbandonedCgroup, nameOwnedCgroup } from "./owner.ts";

/** The control groups that this server may write; undefined where it may write none. */
export function createCgroups(owner: string): CgroupDriver | undefined {
  try {
    const own = findOwnCgroups(readFileSync("/proc/self/cgroup", "utf8"), readFileSync("/proc/self/mountinfo", "utf8"));
    const name = nameOwnedCgroup(owner);
    if (own.memory !== undefined) return createCgroupV1({ ...own, memory: own.memory }, name);
    return own.unified === undefined ? undefined : createCgroupV2(own.unified, name, process.pid);
  } catch {
    return undefined;
  }
}

/** Ends what servers that were killed left in their control groups, here and where they noted them. */
export async function reapCgroups(noted: readonly string[], driver: CgroupDriver | undefined): Promise<void> {
  const beside = (driver?.parents ?? []).flatMap((parent) => listAbandoned(dirname(parent)));
  await Promise.all([...new Set([...noted, ...beside])].map(removeAbandoned));
}

function listAbandoned(folder: string): string[] {
  return readdirSync(folder)
    .filter(isAbandonedCgroup)
    .map((name) => join(folder, name));
}
