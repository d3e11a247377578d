import type { Duplex, Readable } from "node:stream";

export interface SandboxSpec {
  /** Names the process in cgroups, slots and logs; unique while it lives. `[a-z0-9-]+`. */
  id: string;
  /** Program and arguments, by paths as they are inside the sandbox. */
  command: readonly string[];
  /** The whole environment; nothing is inherited. */
  environment: Readonly<Record<string, string>>;
  memoryMiB: number;
  network: "outbound" | "none";
  /** Read-only folders or files beyond the system's: staged path outside → path inside. */
  binds: readonly Bind[];
  /** Bytes written to descriptor 0, which is otherwise empty. */
  input?: Buffer;
  /** Where it starts. @default "/tmp" */
  workFolder?: string;
  /** Processes and threads at once, where the driver's own bound does not fit. */
  maxProcesses?: number;
}

export interface Bind {
  source: string;
  target: string;
  /** It may be written to inside; with its contents it then belongs to whom the process runs as. */
  writable?: boolean;
}

export interface SandboxExit {
  code: number | null;
  signal: string | null;
  /** Set when the memory limit ended it. */
  outOfMemory?: { limitMiB: number; peakMiB: number };
  /** Most memory it ever used, where that is known. */
  peakMiB?: number;
}

/** A process group of which nothing survives. Descriptors: 0 empty, 1 and 2 pipes, 3 the frame socket. */
export interface SandboxedProcess {
  readonly id: string;
  readonly pid: number;
  readonly frames: Duplex;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when every process of it is gone and its uid, cgroup and folders are free again; never rejects. */
  readonly exited: Promise<SandboxExit>;
  /** Proportional set size of all its processes, or the cgroup's use, in MiB. */
  memoryMiB(): Promise<number>;
  /** SIGKILL to everything in it. */
  kill(): void;
}

export interface SandboxStrength {
  driver: "bubblewrap" | "plain";
  /** How `outbound` is given: a namespace with its own way out, or the host's network. */
  network: "pasta" | "slirp4netns" | "host";
  memory: "cgroup-v1" | "cgroup-v2" | "polled";
  /** What is weaker than it should be, for `/ready`, such as `sandbox-plain`, `network-host`, `network-down`, `memory-polled`. */
  degraded: readonly string[];
}

export interface Sandbox {
  /** As it is now: a network helper that is being restarted shows in `degraded`. */
  readonly strength: SandboxStrength;
  /** A folder whose contents every sandbox can read where they are bound, for what is put there while it runs. */
  readonly sharedFolder: string;
  /** Makes a file or folder readable inside and tells its path there; the same source is staged once. */
  stage(source: string): Promise<{ source: string; target: string }>;
  spawn(spec: SandboxSpec): Promise<SandboxedProcess>;
  /** Ends everything that was spawned, and the helpers. */
  stop(): Promise<void>;
}
