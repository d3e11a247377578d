import assert from "node:assert/strict";
import { test } from "node:test";
import { findOwnCgroups, type OwnCgroups } from "./find-cgroups.ts";

const V1_MOUNTS = `30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
`;
const V2_MOUNT = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const CONTAINER_MOUNTS = "32 30 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

const CASES: [name: string, selfCgroup: string, mountinfo: string, expected: OwnCgroups][] = [
  [
    "the first version, with one tree a controller",
    "8:pids:/user\n4:memory:/system/x\n1:cpu,cpuacct:/\n0::/\n",
    V1_MOUNTS,
    {
      pids: "/sys/fs/cgroup/pids/user",
      memory: "/sys/fs/cgroup/memory/system/x",
      unified: { path: "/sys/fs/cgroup/unified", root: "/sys/fs/cgroup/unified" },
    },
  ],
  [
    "the second version",
    "0::/user.slice/user-1000.slice/session-2.scope\n",
    V2_MOUNT,
    { unified: { path: "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope", root: "/sys/fs/cgroup" } },
  ],
  ["a container that sees its own group alone", "4:memory:/docker/abc\n", CONTAINER_MOUNTS, { memory: "/sys/fs/cgroup/memory" }],
  ["a group outside of what is mounted", "4:memory:/elsewhere\n", CONTAINER_MOUNTS, {}],
  ["nothing mounted", "0::/\n", "", {}],
];

for (const [name, selfCgroup, mountinfo, expected] of CASES) {
  test(name, () => assert.deepEqual(findOwnCgroups(selfCgroup, mountinfo), expected));
}
