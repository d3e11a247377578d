import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createToolkit, type GoToolkit, hashShim, openToolkit, toolkitKey } from "./go-toolkit.ts";
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
      toolkit = this.#openOrCreate(program);
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
    const toolchain = this.#options.toolchains.find((candidate) => candidate.program === program);
    if (toolchain === undefined) throw new Error(`no Go at ${program}`);
    this.#shimHash ??= hashShim(this.#options.sourceFolder);
    return toolkitKey(toolchain, await this.#shimHash);
  }

  /** Ends what is being made. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#toolkits.values());
  }

  async #openOrCreate(program: string): Promise<GoToolkit> {
    const key = await this.keyOf(program);
    const folder = join(this.#options.folder, key);
    const there = await openToolkit(folder);
    if (there !== undefined) return there;
    const toolchain = this.#options.toolchains.find((candidate) => candidate.program === program)!;
    const create = this.#queue.then(async () => {
      this.#stopping.signal.throwIfAborted();
      await mkdir(this.#options.folder, { recursive: true });
      return createToolkit(toolchain, this.#options.sourceFolder, folder, this.#stopping.signal);
    });
    this.#queue = create.catch(() => undefined);
    return create;
  }

  async #removeOld(): Promise<void> {
    const used = new Set(await Promise.all(this.#options.toolchains.map(({ program }) => this.keyOf(program))));
    const names = await readdir(this.#options.folder).catch(() => []);
    for (const name of names) if (!used.has(name)) await rm(join(this.#options.folder, name), { recursive: true, force: true });
  }
}
