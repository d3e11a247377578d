import type { Targets } from "./attacks.ts";

/** What each of the attackers in `attackers/` attempts, and the error that it is to meet. */
export interface Step {
  /** A verb and its words. */
  line: string;
  expected: RegExp;
  network?: "outbound";
  /** Node.js makes no system calls of one's own choice. */
  needsSystemCalls?: true;
}

function meets(error: string, lines: readonly string[], more: Partial<Step> = {}): Step[] {
  return lines.map((line) => ({ line, expected: new RegExp(`^(${error})$`), ...more }));
}

const RAW = { needsSystemCalls: true } as const;

/** By the attack's group in the table of test/README.md. */
export function buildSteps({ serverPid, secretFile, shim, port }: Targets, calls: Record<string, number>): Record<string, Step[]> {
  return {
    files: [
      ...meets("ENOENT", [`read ${secretFile}`, "read /etc/shadow", "read /root", "read /dev/mem", "read /sys/fs/cgroup"]),
      ...meets("ENOENT", [`read /proc/${serverPid}/environ`, `read /proc/${serverPid}/mem`, "read /proc/1/root/etc/shadow"]),
      ...meets("EROFS|EACCES", ["write /usr/bin/new", "write /etc/passwd", `write ${shim}`]),
      ...meets("EROFS|EBUSY", [`unlink ${shim}`]),
      ...meets("EROFS|EACCES|ENOENT", ["write /proc/sysrq-trigger", "write /proc/sys/kernel/core_pattern"]),
      ...meets("ENOENT", ["read-by-link /etc/shadow"]),
      ...meets("EXDEV", ["link /usr/bin/su /tmp/su"]),
      ...meets("EPERM", ["device"], RAW),
    ],
    processes: [
      ...meets("ESRCH", [`kill ${serverPid} 10`, `kill ${serverPid} 9`]),
      ...meets("done|EPERM|ESRCH", ["kill 1 9"]),
      ...meets("EPERM", [`call ${calls["ptrace"]} 16 1 0 0`, `call ${calls["process_vm_readv"]} 1 0 0 0 0 0`], RAW),
    ],
    kernel: [
      ...meets(
        "EPERM",
        [0x10000000, 0x40000000, 0x00020000, 0x20000000].map((flag) => `call ${calls["clone"]} ${flag + 17} 0 0 0 0`),
        RAW,
      ),
      ...meets(
        "EPERM",
        ["keyctl", "bpf", "perf_event_open", "userfaultfd"].map((name) => `call ${calls[name]} 0 0 0 0 0 0`),
        RAW,
      ),
      ...meets(
        "ENOSYS",
        ["clone3", "io_uring_setup"].map((name) => `call ${calls[name]} 0 0 0 0 0 0`),
        RAW,
      ),
      ...meets(
        "EPERM|ENOSYS",
        ["fsopen", "open_tree", "move_mount"].map((name) => `call ${calls[name]} 0 0 0 0 0 0`),
        RAW,
      ),
      ...meets("EAFNOSUPPORT", ["socket 17 3 0", "socket 38 5 0", "socket 40 1 0"], RAW),
      ...meets("EPERM", ["terminal"], RAW),
    ],
    network: [
      ...meets("ENETUNREACH|ECONNREFUSED", [`connect 127.0.0.1 ${port}`, "connect 169.254.169.254 80"]),
      ...meets("ENETUNREACH", [`connect 127.0.0.1 ${port}`, "connect 169.254.169.254 80", "connect 169.254.170.2 80"], {
        network: "outbound",
      }),
    ],
    resources: [...meets("ENOSPC", ["fill /tmp/x", "fill /dev/shm/x"]), ...meets("EMFILE", ["descriptors"])],
  };
}
