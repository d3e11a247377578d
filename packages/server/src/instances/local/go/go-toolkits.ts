import { createHash } from "node:crypto";
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../../clock.ts";
import { prepareStandardLibrary, standardLibraryKey } from "./go-standard-library.ts";
import type { GoToolkit } from "../../go/toolkit.ts";
import { hashShim, prepareToolkit } from "./go-toolkit.ts";
import type { GoToolchain } from "./go-toolchain.ts";

export interface GoToolkitsOptions {
  toolchains: readonly GoToolchain[];
  /** runtimes/go of this project. */
  sourceFolder: string;
  /** Where toolkits are kept across starts. */
  folder: string;
  clock: Clock;
}

/** What no start has used for a week is removed, such as the toolkits of older versions. */
const UNUSED_MS = 7 * 24 * 60 * 60 * 1000;

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

  /** Makes these where they are missing, and removes what nothing has used for long. Rejects with the first failure, after trying all. */
  async prepare(programs: readonly string[]): Promise<void> {
    const results = await Promise.allSettled(programs.map((program) => this.get(program)));
    await this.#removeUnused();
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

  /** Any toolkit: the launcher of one starts the programs of all. Those that were asked for before come first. */
  async getAny(): Promise<GoToolkit> {
    const { toolchains } = this.#options;
    if (toolchains.length === 0) throw new Error("no Go is installed");
    const asked = [...this.#toolkits.values()];
    try {
      return await Promise.any(asked.length > 0 ? asked : toolchains.map(({ program }) => this.get(program)));
    } catch (error) {
      throw (error as AggregateError).errors[0];
    }
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
      const toolkit = await prepareToolkit(standard, sourceFolder, join(folder, await this.keyOf(program)));
      await Promise.all([this.#markUsed(standard.folder), this.#markUsed(toolkit.folder)]);
      return toolkit;
    });
    this.#queue = prepared.catch(() => undefined);
    return prepared;
  }

  #toolchain(program: string): GoToolchain {
    const toolchain = this.#options.toolchains.find((candidate) => candidate.program === program);
    if (toolchain === undefined) throw new Error(`no Go at ${program}`);
    return toolchain;
  }

  /** By age, as another server may share the folder, and make something in it just now. */
  async #removeUnused(): Promise<void> {
    const { folder, clock } = this.#options;
    for (const name of await readdir(folder).catch(() => [])) {
      const path = join(folder, name);
      const usedAtMs = await stat(path).then(
        ({ mtimeMs }) => mtimeMs,
        () => Number.POSITIVE_INFINITY,
      );
      if (clock.nowMs() - usedAtMs > UNUSED_MS) await rm(path, { recursive: true, force: true });
    }
  }

  #markUsed(path: string): Promise<void> {
    const nowSeconds = this.#options.clock.nowMs() / 1000;
    return utimes(path, nowSeconds, nowSeconds);
  }
}
