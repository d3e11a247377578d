/** What compiling with a toolkit means for a function. */
export interface GoToolkitFacts {
  /** What functions may import. */
  packages: ReadonlySet<string>;
  /** Those of them that bring net/http along. */
  httpPackages: ReadonlySet<string>;
  /** Keeps the behaviour of Go 1.19 under a newer one; empty where it is the same. */
  oldGodebug: string;
}

/**
 * All that compiling a function takes, in one read-only folder: compiler, linker, the standard library and the shim as
 * archives, the build script; and the launcher.
 */
export interface GoToolkit extends GoToolkitFacts {
  folder: string;
  launcher: string;
}

/** The toolkits there are, by go command. */
export interface GoToolkitSource {
  get(program: string): Promise<Omit<GoToolkit, "launcher">>;
  /** Names a toolkit, perhaps before it is there. */
  keyOf(program: string): Promise<string>;
}
