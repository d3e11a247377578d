import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { runTied } from "../run-tied.ts";
import type { InstalledVersion } from "./installed.ts";
import { succeeds } from "../../../succeeds.ts";

const COMPILE_TIMEOUT_MS = 60_000;

/**
 * Python's shim with its byte code beside it, for each version once: a sandboxed interpreter may not write any, and compiling
 * at each start takes half of its time and a MiB of its memory.
 */
export class CompiledPython {
  readonly #sourceFolder: string;
  readonly #folder: string;
  readonly #onError: (error: unknown) => void;
  readonly #ready = new Map<string, Promise<string>>();
  readonly #stopping = new AbortController();

  /** @param folder where compiled copies are kept across starts */
  constructor(sourceFolder: string, folder: string, onError: (error: unknown) => void) {
    this.#sourceFolder = sourceFolder;
    this.#folder = folder;
    this.#onError = onError;
  }

  /** The folder to start from; the plain source where it cannot be compiled. */
  get(installed: InstalledVersion): Promise<string> {
    let folder = this.#ready.get(installed.program);
    if (folder === undefined) {
      folder = this.#prepare(installed).catch((error: unknown) => {
        if (!this.#stopping.signal.aborted) this.#onError(error);
        return this.#sourceFolder;
      });
      this.#ready.set(installed.program, folder);
    }
    return folder;
  }

  /** Resolves once nothing is written any more; what was half compiled is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#ready.values());
  }

  async #prepare({ program, version }: InstalledVersion): Promise<string> {
    const target = join(this.#folder, `${version}-${await hashFolder(this.#sourceFolder)}`);
    if (await succeeds(stat(target))) return target;
    const work = `${target}.part`;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    try {
      await this.#compile(program, work);
      await rename(work, target);
    } catch (error) {
      await rm(work, { recursive: true, force: true });
      throw error;
    }
    return target;
  }

  async #compile(program: string, work: string): Promise<void> {
    await rm(work, { recursive: true, force: true });
    await cp(this.#sourceFolder, work, { recursive: true, filter: (path) => !path.endsWith("__pycache__") });
    await runTied([program, "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", work], {
      cwd: work,
      env: {},
      timeoutMs: COMPILE_TIMEOUT_MS,
      signal: this.#stopping.signal,
    });
  }
}

async function hashFolder(folder: string): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".py")).map((entry) => join(entry.parentPath, entry.name));
  for (const path of paths.sort()) hash.update(path.slice(folder.length)).update(await readFile(path));
  return hash.digest("hex").slice(0, 16);
}
