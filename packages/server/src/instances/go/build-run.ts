/** One run of a compiler over a source that nobody trusts. */
export interface BuildSpec {
  /** Unique while it runs. `[a-z0-9-]+` */
  id: string;
  /** Paths as they are where it runs. */
  command: readonly string[];
  /** The whole environment; TMPDIR, where it runs, is writable and private to it. */
  environment: Readonly<Record<string, string>>;
  /** Read-only folders that the command needs: path outside → path where it runs. */
  binds: readonly { source: string; target: string }[];
  input: Buffer;
  timeoutMs: number;
  memoryMiB: number;
  signal?: AbortSignal | undefined;
}

export interface BuildResult {
  /** Null when a signal ended it. */
  code: number | null;
  stdout: Buffer;
  stderr: string;
  /** Why it was ended, if it was. */
  ended?: "timeout" | "memory" | "aborted" | "output";
}

/** Runs a build; resolves when nothing of it is left. */
export type RunBuild = (spec: BuildSpec) => Promise<BuildResult>;
