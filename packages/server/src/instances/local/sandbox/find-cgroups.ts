import { join, relative } from "node:path";

/** Where the server's own cgroups are; a hierarchy that isn't mounted here is missing. */
export interface OwnCgroups {
  /** Folders of the first version's controllers. */
  memory?: string;
  pids?: string;
  /** The one folder of the second version, and where its tree begins. */
  unified?: { path: string; root: string };
}

interface CgroupMount {
  /** The cgroup that the mount point shows, which is not the root in a container. */
  shownCgroup: string;
  mountPoint: string;
  type: string;
  options: readonly string[];
}

function parseMounts(mountinfo: string): CgroupMount[] {
  return mountinfo
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ");
      const fields = before.split(" ");
      const [type = "", , options = ""] = after.split(" ");
      return { shownCgroup: fields[3] ?? "/", mountPoint: fields[4] ?? "/", type, options: options.split(",") };
    })
    .filter((mount) => mount.type === "cgroup" || mount.type === "cgroup2");
}

function locate(mount: CgroupMount | undefined, cgroup: string): string | undefined {
  if (mount === undefined) return undefined;
  const below = relative(mount.shownCgroup, cgroup);
  // A cgroup outside of what the mount shows can't be reached by it.
  return below.startsWith("..") ? undefined : join(mount.mountPoint, below);
}

/** Reads `/proc/self/cgroup` and `/proc/self/mountinfo`. */
export function findOwnCgroups(selfCgroup: string, mountinfo: string): OwnCgroups {
  const mounts = parseMounts(mountinfo);
  const own: OwnCgroups = {};
  for (const line of selfCgroup.split("\n").filter(Boolean)) {
    const [, hierarchy = "", controllers = "", cgroup = "/"] = /^(\d+):([^:]*):(.*)$/.exec(line) ?? [];
    if (hierarchy === "0" && controllers === "") {
      const mount = mounts.find(({ type }) => type === "cgroup2");
      const path = locate(mount, cgroup);
      if (mount !== undefined && path !== undefined) own.unified = { path, root: mount.mountPoint };
    }
    for (const controller of ["memory", "pids"] as const) {
      if (!controllers.split(",").includes(controller)) continue;
      const mount = mounts.find(({ type, options }) => type === "cgroup" && options.includes(controller));
      const path = locate(mount, cgroup);
      if (path !== undefined) own[controller] = path;
    }
  }
  return own;
}
