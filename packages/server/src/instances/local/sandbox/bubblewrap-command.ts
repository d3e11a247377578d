import { INSIDE_ID } from "./system-files.ts";

/** Numbers of the descriptors that bubblewrap itself reads or writes, and closes before it starts the command. */
export const SECCOMP_DESCRIPTOR = 4;
export const INFO_DESCRIPTOR = 5;
export const ARGUMENTS_DESCRIPTOR = 6;

const MAX_OPEN_FILES = 4_096;
/** In blocks of 512 bytes: 1 GiB. */
const MAX_FILE_BLOCKS = 2 * 1024 * 1024;
const SHARED_MEMORY_MIB = 16;
const MIB = 1024 * 1024;

export interface BubblewrapArguments {
  environment: Readonly<Record<string, string>>;
  /** Whether it gets an empty network of its own, else it stays in the one it is started in. */
  ownNetwork: boolean;
  tmpMiB: number;
  system: readonly string[];
  binds: readonly { source: string; target: string; writable?: boolean | undefined }[];
  workFolder: string;
}

/**
 * What goes to bubblewrap by a descriptor, so that neither environment nor paths can be read in the list of processes.
 * Order matters: later mounts lie on earlier ones, and what holds them is made read-only at the end.
 */
export function buildBubblewrapArguments(input: BubblewrapArguments): string[] {
  const id = String(INSIDE_ID);
  const tmpfs = (mib: number, path: string) => ["--perms", "1777", "--size", String(mib * MIB), "--tmpfs", path];
  return [
    ["--unshare-user", "--uid", id, "--gid", id, "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"],
    input.ownNetwork ? ["--unshare-net"] : [],
    ["--hostname", "function", "--new-session", "--die-with-parent", "--cap-drop", "ALL"],
    ["--seccomp", String(SECCOMP_DESCRIPTOR), "--info-fd", String(INFO_DESCRIPTOR)],
    ["--clearenv"],
    Object.entries(input.environment).flatMap(([name, value]) => ["--setenv", name, value]),
    input.system,
    ["--proc", "/proc", "--dev", "/dev", ...tmpfs(SHARED_MEMORY_MIB, "/dev/shm"), "--remount-ro", "/dev"],
    tmpfs(input.tmpMiB, "/tmp"),
    input.binds.flatMap(({ source, target, writable }) => [writable === true ? "--bind" : "--ro-bind", source, target]),
    ["--remount-ro", "/", "--chdir", input.workFolder],
  ].flat();
}

export interface LaunchPrograms {
  shell: string;
  bubblewrap: string;
  nsenter: string;
  env: string;
  prlimit: string | undefined;
}

export interface LaunchInput {
  programs: LaunchPrograms;
  command: readonly string[];
  /** The uid that the process has outside, where the server may choose one. */
  uid: number | undefined;
  /** Whose network namespace is joined, and user namespace where the server isn't root. */
  networkOf: number | undefined;
  joinFiles: readonly string[];
  /** Set where no control group bounds the number of processes. */
  maxProcesses: number | undefined;
}

/**
 * Joins the control groups and sets limits before anything else runs, then becomes the next program. Descriptors 0 to 6
 * pass through.
 */
const LAUNCH_SCRIPT = [
  "ulimit -c 0",
  `ulimit -n ${MAX_OPEN_FILES} 2>/dev/null`,
  `ulimit -f ${MAX_FILE_BLOCKS} 2>/dev/null`,
  'while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done',
  "shift",
  'exec "$@"',
].join("\n");

/** Shell, then the way into the network and to the uid, then bubblewrap, then the command: one process all along. */
export function buildLaunchCommand(input: LaunchInput): string[] {
  const { programs } = input;
  return [
    [programs.shell, "-c", LAUNCH_SCRIPT, "launch", ...input.joinFiles, "--"],
    enter(input),
    [programs.bubblewrap, "--args", String(ARGUMENTS_DESCRIPTOR), "--"],
    boundProcesses(input),
    // Bubblewrap sets PWD after it has cleared the environment.
    [programs.env, "-u", "PWD", ...input.command],
  ].flat();
}

function enter({ programs, uid, networkOf }: LaunchInput): string[] {
  if (uid !== undefined) {
    const network = networkOf === undefined ? [] : [`--net=/proc/${networkOf}/ns/net`];
    return [programs.nsenter, ...network, "--setuid", String(uid), "--setgid", String(uid), "--"];
  }
  if (networkOf === undefined) return [];
  return [programs.nsenter, "--target", String(networkOf), "--user", "--net", "--preserve-credentials", "--"];
}

/** Set inside, where only the sandbox's own processes count; outside those of the whole user would. */
function boundProcesses({ programs, maxProcesses }: LaunchInput): string[] {
  if (maxProcesses === undefined || programs.prlimit === undefined) return [];
  return [programs.prlimit, `--nproc=${maxProcesses}:${maxProcesses}`, "--"];
}
