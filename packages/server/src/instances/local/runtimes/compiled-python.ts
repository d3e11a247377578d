import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { InstalledVersion } from "./installed.ts";

const run = promisify(execFile);
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
        this.#onError(error);
        return this.#sourceFolder;
      });
      this.#ready.set(installed.program, folder);
    }
    return folder;
  }

  async #prepare({ program, version }: InstalledVersion): Promise<string> {
    const target = join(this.#folder, `${version}-${await hashFolder(this.#sourceFolder)}`);
    if (await exists(target)) return target;
    const work = `${target}.${process.pid}.part`;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await rm(work, { recursive: true, force: true });
    await cp(this.#sourceFolder, work, { recursive: true, filter: (path) => !path.endsWith("__pycache__") });
    await run(program, ["-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", work], {
      timeout: COMPILE_TIMEOUT_MS,
    });
    await rename(work, target).catch(async (error: unknown) => {
      // Another start was faster.
      await rm(work, { recursive: true, force: true });
      if (!(await exists(target))) throw error;
    });
    return target;
  }
}

async function hashFolder(folder: string): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile() && entry.name.endsWith(".py")).map((entry) => join(entry.parentPath, entry.name));
  for (const path of paths.sort()) hash.update(path.slice(folder.length)).update(await readFile(path));
  return hash.digest("hex").slice(0, 16);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
