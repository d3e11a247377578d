/** What main.ts knows of the machine and hands on. */
export interface Machine {
  projectFolder: string;
  /** Folders of PATH. */
  searchPath: readonly string[];
  xdgRuntimeFolder: string | undefined;
  isRoot: boolean;
  version: string;
  /** A state that cannot be saved must not be served on: ends the process at once. */
  onFatal(error: Error): void;
}
