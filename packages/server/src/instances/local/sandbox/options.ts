import { join } from "node:path";

export interface SandboxLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface SandboxOptions {
  /** `require` refuses to start without bubblewrap, `plain` never tries it. @default "auto" */
  mode?: "auto" | "require" | "plain";
  /** How `outbound` is given; `auto` takes the first of pasta, slirp4netns, host that works. @default "auto" */
  network?: "auto" | "pasta" | "slirp4netns" | "host";
  /** How memory is bounded; `auto` takes a writable cgroup, else polls. @default "auto" */
  memory?: "auto" | "cgroup" | "polled";
  /** One unprivileged user id a process, where the server is root. @default 200000 and the 10,000 after it */
  uidRange?: { first: number; count: number };
  /** Where staged runtimes and records of what runs are kept; every user must be able to reach it. */
  runtimeFolder: string;
  /** Where copies of runtimes are kept, which can be large. @default the runtime folder, which is often in memory */
  cacheFolder?: string;
  /** Whether the server may give each process a user id of its own. */
  runAsRoot: boolean;
  /** Processes and threads of one sandbox. @default 256 */
  maxProcesses?: number;
  /** Size of the private /tmp, which counts as memory. @default 64 */
  tmpMiB?: number;
  log: SandboxLog;
}

export type CompiledSandboxOptions = Readonly<Required<SandboxOptions>>;

export function compileSandboxOptions(options: SandboxOptions): CompiledSandboxOptions {
  return {
    mode: options.mode ?? "auto",
    network: options.network ?? "auto",
    memory: options.memory ?? "auto",
    uidRange: options.uidRange ?? { first: 200_000, count: 10_000 },
    runtimeFolder: options.runtimeFolder,
    cacheFolder: options.cacheFolder ?? options.runtimeFolder,
    runAsRoot: options.runAsRoot,
    maxProcesses: options.maxProcesses ?? 256,
    tmpMiB: options.tmpMiB ?? 64,
    log: options.log,
  };
}

/** The usual runtime folder: `/run/kube-serverless` for root, else the user's own, else within the data folder. */
export function defaultRuntimeFolder(input: { runAsRoot: boolean; xdgRuntimeFolder?: string | undefined; dataFolder: string }): string {
  if (input.runAsRoot) return "/run/kube-serverless";
  return input.xdgRuntimeFolder ? join(input.xdgRuntimeFolder, "kube-serverless") : join(input.dataFolder, "run");
}

/** Where copies and build caches lie that other users must reach: on disk, and not below a data folder of mode 0700 for root. */
export function defaultCacheFolder(input: { runAsRoot: boolean; dataFolder: string }): string {
  return input.runAsRoot ? "/var/cache/kube-serverless" : join(input.dataFolder, "cache");
}
