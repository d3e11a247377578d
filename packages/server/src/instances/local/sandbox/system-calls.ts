/** Number of a system call on each architecture; a missing one does not exist there. */
export interface SystemCall {
  name: string;
  x64?: number;
  arm64?: number;
}

export interface DeniedGroup {
  errno: "EPERM" | "ENOSYS";
  calls: readonly SystemCall[];
}

/** Refused whatever their arguments. */
export const DENIED: readonly DeniedGroup[] = [
  // Keyrings are not part of any namespace.
  {
    errno: "EPERM",
    calls: [
      { name: "add_key", x64: 248, arm64: 217 },
      { name: "request_key", x64: 249, arm64: 218 },
      { name: "keyctl", x64: 250, arm64: 219 },
    ],
  },
  // New namespaces open most of the kernel to whoever is root in them.
  {
    errno: "EPERM",
    calls: [
      { name: "unshare", x64: 272, arm64: 97 },
      { name: "setns", x64: 308, arm64: 268 },
    ],
  },
  // Mounts.
  {
    errno: "EPERM",
    calls: [
      { name: "mount", x64: 165, arm64: 40 },
      { name: "umount2", x64: 166, arm64: 39 },
      { name: "pivot_root", x64: 155, arm64: 41 },
      { name: "chroot", x64: 161, arm64: 51 },
    ],
  },
  // The newer mount calls, and clone3, whose flags lie in memory where a filter cannot look: callers fall back to the older ones.
  {
    errno: "ENOSYS",
    calls: [
      { name: "clone3", x64: 435, arm64: 435 },
      { name: "open_tree", x64: 428, arm64: 428 },
      { name: "move_mount", x64: 429, arm64: 429 },
      { name: "fsopen", x64: 430, arm64: 430 },
      { name: "fsconfig", x64: 431, arm64: 431 },
      { name: "fsmount", x64: 432, arm64: 432 },
      { name: "fspick", x64: 433, arm64: 433 },
      { name: "mount_setattr", x64: 442, arm64: 442 },
      { name: "statmount", x64: 457, arm64: 457 },
      { name: "listmount", x64: 458, arm64: 458 },
      { name: "open_tree_attr", x64: 467, arm64: 467 },
    ],
  },
  // Other processes' memory and descriptors.
  {
    errno: "EPERM",
    calls: [
      { name: "ptrace", x64: 101, arm64: 117 },
      { name: "process_vm_readv", x64: 310, arm64: 270 },
      { name: "process_vm_writev", x64: 311, arm64: 271 },
      { name: "kcmp", x64: 312, arm64: 272 },
      { name: "pidfd_getfd", x64: 438, arm64: 438 },
      { name: "process_madvise", x64: 440, arm64: 440 },
      { name: "process_mrelease", x64: 448, arm64: 448 },
    ],
  },
  // Large and often broken interfaces.
  {
    errno: "EPERM",
    calls: [
      { name: "perf_event_open", x64: 298, arm64: 241 },
      { name: "bpf", x64: 321, arm64: 280 },
      { name: "userfaultfd", x64: 323, arm64: 282 },
    ],
  },
  // Callers fall back to plain reads and writes; secret memory would not be counted.
  {
    errno: "ENOSYS",
    calls: [
      { name: "io_uring_setup", x64: 425, arm64: 425 },
      { name: "io_uring_enter", x64: 426, arm64: 426 },
      { name: "io_uring_register", x64: 427, arm64: 427 },
      { name: "memfd_secret", x64: 447, arm64: 447 },
    ],
  },
  // Files by handle pass by every mount.
  {
    errno: "EPERM",
    calls: [
      { name: "name_to_handle_at", x64: 303, arm64: 264 },
      { name: "open_by_handle_at", x64: 304, arm64: 265 },
      { name: "fanotify_init", x64: 300, arm64: 262 },
    ],
  },
  // The machine itself.
  {
    errno: "EPERM",
    calls: [
      { name: "kexec_load", x64: 246, arm64: 104 },
      { name: "kexec_file_load", x64: 320, arm64: 294 },
      { name: "init_module", x64: 175, arm64: 105 },
      { name: "finit_module", x64: 313, arm64: 273 },
      { name: "delete_module", x64: 176, arm64: 106 },
      { name: "swapon", x64: 167, arm64: 224 },
      { name: "swapoff", x64: 168, arm64: 225 },
      { name: "reboot", x64: 169, arm64: 142 },
      { name: "acct", x64: 163, arm64: 89 },
      { name: "quotactl", x64: 179, arm64: 60 },
      { name: "quotactl_fd", x64: 443, arm64: 443 },
      { name: "syslog", x64: 103, arm64: 116 },
      { name: "settimeofday", x64: 164, arm64: 170 },
      { name: "clock_settime", x64: 227, arm64: 112 },
      { name: "clock_adjtime", x64: 305, arm64: 266 },
      { name: "adjtimex", x64: 159, arm64: 171 },
      { name: "sethostname", x64: 170, arm64: 161 },
      { name: "setdomainname", x64: 171, arm64: 162 },
      { name: "vhangup", x64: 153, arm64: 58 },
      { name: "iopl", x64: 172 },
      { name: "ioperm", x64: 173 },
      { name: "modify_ldt", x64: 154 },
    ],
  },
  // Placing pages on nodes of memory.
  {
    errno: "EPERM",
    calls: [
      { name: "mbind", x64: 237, arm64: 235 },
      { name: "set_mempolicy", x64: 238, arm64: 237 },
      { name: "get_mempolicy", x64: 239, arm64: 236 },
      { name: "migrate_pages", x64: 256, arm64: 238 },
      { name: "move_pages", x64: 279, arm64: 239 },
      { name: "set_mempolicy_home_node", x64: 450, arm64: 450 },
    ],
  },
  // Relics.
  {
    errno: "ENOSYS",
    calls: [
      { name: "uselib", x64: 134 },
      { name: "ustat", x64: 136 },
      { name: "sysfs", x64: 139 },
      { name: "lookup_dcookie", x64: 212, arm64: 18 },
      { name: "nfsservctl", x64: 180, arm64: 42 },
    ],
  },
];

/** Refused depending on their arguments. */
export const JUDGED = {
  clone: { name: "clone", x64: 56, arm64: 220 },
  ioctl: { name: "ioctl", x64: 16, arm64: 29 },
  personality: { name: "personality", x64: 135, arm64: 92 },
  socket: { name: "socket", x64: 41, arm64: 198 },
  socketpair: { name: "socketpair", x64: 53, arm64: 199 },
} as const;

/** Higher numbers than Linux 6.17 has are answered with ENOSYS, so that nothing new is open before it was judged. */
export const LAST_KNOWN_CALL = 469;
