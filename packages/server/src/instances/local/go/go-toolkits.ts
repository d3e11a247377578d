import { createHash } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { prepareStandardLibrary, standardLibraryKey } from "./go-standard-library.ts";
import { type GoToolkit, hashShim, prepareToolkit } from "./go-toolkit.ts";
import type { GoToolchain } from "./go-toolchain.ts";

export interface GoToolkitsOptions {
  toolchains: readonly GoToolchain[];
  /** runtimes/go of this project. */
  sourceFolder: string;
  /** Where toolkits are kept across starts. */
  folder: string;
}

/** The toolkits of all installed toolchains, made once, one after the other. */
export class GoToolkits {
  readonly #options: GoToolkitsOptions;
  readonly #toolkits = new Map<string, Promise<GoToolkit>>();
  readonly #stopping = new AbortController();
  #shimHash: Promise<string> | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: GoToolkitsOptions) {
    this.#options = options;
  }

  /** Makes those that are missing and removes those that nothing uses. Rejects with the first failure, after trying all. */
  async prepare(): Promise<void> {
    const results = await Promise.allSettled(this.#options.toolchains.map(({ program }) => this.get(program)));
    await this.#removeOld();
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** The toolkit of a go command, made if need be. */
  get(program: string): Promise<GoToolkit> {
    let toolkit = this.#toolkits.get(program);
    if (toolkit === undefined) {
      toolkit = this.#prepare(program);
      this.#toolkits.set(program, toolkit);
      // The next one that asks tries again.
      toolkit.catch(() => this.#toolkits.delete(program));
    }
    return toolkit;
  }

  /** Any toolkit: the launcher of one starts the programs of all. */
  getAny(): Promise<GoToolkit> {
    const { toolchains } = this.#options;
    if (toolchains.length === 0) return Promise.reject(new Error("no Go is installed"));
    return Promise.any(toolchains.map(({ program }) => this.get(program)));
  }

  /** Names a toolkit before it is there. */
  async keyOf(program: string): Promise<string> {
    this.#shimHash ??= hashShim(this.#options.sourceFolder);
    const parts = [standardLibraryKey(this.#toolchain(program)), await this.#shimHash];
    return createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 32);
  }

  /** Ends what is being made. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#toolkits.values());
  }

  /** One after the other: each takes what cores there are. */
  #prepare(program: string): Promise<GoToolkit> {
    const prepared = this.#queue.then(async () => {
      const { signal } = this.#stopping;
      signal.throwIfAborted();
      const { sourceFolder, folder } = this.#options;
      const toolchain = this.#toolchain(program);
      const standard = await prepareStandardLibrary(toolchain, join(folder, standardLibraryKey(toolchain)), signal);
      return prepareToolkit(standard, sourceFolder, join(folder, await this.keyOf(program)));
    });
    this.#queue = prepared.catch(() => undefined);
    return prepared;
  }

  #toolchain(program: string): GoToolchain {
    const toolchain = this.#options.toolchains.find((candidate) => candidate.program === program);
    if (toolchain === undefined) throw new Error(`no Go at ${program}`);
    return toolchain;
  }

  async #removeOld(): Promise<void> {
    const { toolchains } = this.#options;
    const keys = await Promise.all(toolchains.map(({ program }) => this.keyOf(program)));
    const used = new Set([...keys, ...toolchains.map(standardLibraryKey)]);
    const names = await readdir(this.#options.folder).catch(() => []);
    for (const name of names) if (!used.has(name)) await rm(join(this.#options.folder, name), { recursive: true, force: true });
  }
}
