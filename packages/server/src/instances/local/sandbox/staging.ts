import { createHash } from "node:crypto";
import { chmod, copyFile, link, lstat, mkdir, readdir, readlink, realpath, rename, rm, symlink, utimes } from "node:fs/promises";
import { lstatSync, type Stats } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface Staged {
  /** Outside, where it can be bound from. */
  source: string;
  /** Inside. */
  target: string;
}

export interface StagingOptions {
  /** Copies lie below it, root-owned and readable by everyone. */
  folder: string;
  /** Whether sandboxes run as other users, who may not read what the server can. */
  otherUsers: boolean;
}

const UNUSED_DAYS = 7;
const DAY_MS = 24 * 60 * 60 * 1000;

/** Makes runtimes and artifacts readable inside: as they lie where every user can read them, else by a copy. */
export class Staging {
  readonly #options: StagingOptions;
  readonly #staged = new Map<string, Promise<Staged>>();

  constructor(options: StagingOptions) {
    this.#options = options;
  }

  async stage(source: string): Promise<Staged> {
    const real = await realpath(source);
    // All of /usr is bound as it is, and programs there may depend on the name they are called by.
    if (isBelow(source, "/usr") && isBelow(real, "/usr")) return { source, target: source };
    const entries = await listTree(real);
    const key = hashTree(real, entries);
    const staged = this.#staged.get(key) ?? this.#provide(real, entries, key);
    this.#staged.set(key, staged);
    staged.catch(() => this.#staged.delete(key));
    return staged;
  }

  /** Removes copies that nobody asked for within a week, such as those of runtimes that were updated since. */
  async removeUnused(nowMs: number): Promise<void> {
    const names = await readdir(this.#options.folder).catch(() => []);
    for (const name of names) {
      const path = join(this.#options.folder, name);
      // Another server may just have given its copy the final name, or removed one.
      const stats = await lstat(path).catch(() => undefined);
      if (stats !== undefined && nowMs - stats.mtimeMs > UNUSED_DAYS * DAY_MS) await rm(path, { recursive: true, force: true });
    }
  }

  async #provide(real: string, entries: readonly Entry[], key: string): Promise<Staged> {
    const target = join("/runtime", key, basename(real));
    if (!this.#options.otherUsers || isReadableByAll(real, entries)) return { source: real, target };
    const folder = join(this.#options.folder, key);
    if (!(await touch(folder))) await copyTree(real, entries, folder);
    return { source: join(folder, basename(real)), target };
  }
}

interface Entry {
  /** From the source on; empty for the source itself. */
  path: string;
  stats: Stats;
}

function isBelow(path: string, folder: string): boolean {
  return path.startsWith(`${folder}/`);
}

async function listTree(root: string): Promise<Entry[]> {
  const entries: Entry[] = [{ path: "", stats: await lstat(root) }];
  for (const { path, stats } of entries) {
    if (!stats.isDirectory()) continue;
    const names = (await readdir(join(root, path))).sort();
    for (const name of names) entries.push({ path: join(path, name), stats: await lstat(join(root, path, name)) });
  }
  return entries;
}

/** Changes whenever a file is replaced or written to; reading 120 MB to know would take longer than to start. */
function hashTree(real: string, entries: readonly Entry[]): string {
  const hash = createHash("sha256").update(real);
  for (const { path, stats } of entries) hash.update(`\0${path}\0${stats.mtimeMs}\0${stats.size}\0${stats.mode}`);
  return hash.digest("hex").slice(0, 16);
}

function isReadableByAll(real: string, entries: readonly Entry[]): boolean {
  if (entries.some(({ stats }) => !stats.isSymbolicLink() && !grants(stats, stats.isDirectory() ? 0o005 : 0o004))) return false;
  return isReachableByAll(dirname(real));
}

/** Whether every user may pass through the folder and all above it; each must be a real one, no link. */
export function isReachableByAll(folder: string): boolean {
  if (!grants(lstatSync(folder), 0o001)) return false;
  return folder === "/" || isReachableByAll(dirname(folder));
}

function grants(stats: Stats, toOthers: number): boolean {
  return (stats.mode & toOthers) === toOthers;
}

/** A copy appears whole or not at all: it is made beside and renamed, and whoever comes second throws theirs away. */
async function copyTree(real: string, entries: readonly Entry[], folder: string): Promise<void> {
  const unfinished = `${folder}.${process.pid}`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  for (const entry of entries) await copyEntry(join(real, entry.path), join(unfinished, basename(real), entry.path), entry.stats);
  const stage = dirname(unfinished);
  for (const made of [unfinished, stage, dirname(stage)]) await chmod(made, 0o755);
  try {
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

async function copyEntry(from: string, to: string, stats: Stats): Promise<void> {
  if (stats.isDirectory()) {
    await mkdir(to);
    await chmod(to, 0o755);
  } else if (stats.isSymbolicLink()) {
    await symlink(await readlink(from), to);
  } else if (stats.isFile()) {
    if (isSafeToLink(stats) && (await tryLink(from, to))) return;
    await copyFile(from, to);
    await chmod(to, (stats.mode & 0o111) === 0 ? 0o644 : 0o755);
  }
}

/** A hard link keeps owner and mode, so only what root alone can change and everyone can read is linked. */
function isSafeToLink(stats: Stats): boolean {
  return stats.uid === 0 && (stats.mode & 0o022) === 0 && grants(stats, 0o004);
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch {
    return false;
  }
}

async function touch(path: string): Promise<boolean> {
  try {
    const now = new Date();
    await utimes(path, now, now);
    return true;
  } catch {
    return false;
  }
}
