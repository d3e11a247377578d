import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { diskFullError, isNoSpace } from "../../store/disk-full.ts";

const MANIFEST = "manifest.json";

interface Manifest<Facts> {
  facts: Facts;
  /** Of every file, so that a folder that lost some is made anew. */
  sizes: Record<string, number>;
}

/** What a finished folder says about itself; undefined when it isn't there or isn't whole. */
export async function readFolderFacts<Facts>(folder: string): Promise<Facts | undefined> {
  try {
    const { facts, sizes } = JSON.parse(await readFile(join(folder, MANIFEST), "utf8")) as Manifest<Facts>;
    for (const [name, size] of Object.entries(sizes)) if ((await stat(join(folder, name))).size !== size) return undefined;
    return facts;
  } catch {
    return undefined;
  }
}

/** Makes a folder that is there as a whole or not at all, whenever the power goes. `fill` gets an empty one. @throws KsError `STORE_UNAVAILABLE` where the disk is full */
export async function createFolder<Facts>(folder: string, fill: (work: string) => Promise<Facts>): Promise<Facts> {
  const work = `${folder}.${randomUUID()}`;
  try {
    await mkdir(work, { recursive: true });
    const facts = await fill(work);
    const manifest: Manifest<Facts> = { facts, sizes: await readSizes(work) };
    await writeFile(join(work, MANIFEST), JSON.stringify(manifest));
    await syncTree(work);
    // Another process may have been faster, and use it already.
    const there = await readFolderFacts<Facts>(folder);
    if (there !== undefined) return there;
    await rm(folder, { recursive: true, force: true });
    await rename(work, folder);
    await syncPath(dirname(folder));
    return facts;
  } catch (error) {
    throw isNoSpace(error) ? diskFullError(folder, error) : error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function readSizes(folder: string): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) sizes[path.slice(folder.length + 1)] = (await stat(path)).size;
  }
  return sizes;
}

async function syncTree(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) await syncPath(join(folder, name));
  await syncPath(folder);
}

/** Writes a new file and waits until the disk has it. */
export async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Waits until the disk has a file's or folder's content. */
export async function syncPath(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
