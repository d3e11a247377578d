import { chown, lchown, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Bind } from "./port.ts";

/** Hands the writable folders, with all in them, to the user that the sandbox runs as. */
export async function giveAway(binds: readonly Bind[], uid: number): Promise<void> {
  for (const { source, writable } of binds) if (writable === true) await chownTree(source, uid);
}

async function chownTree(folder: string, uid: number): Promise<void> {
  await chown(folder, uid, uid);
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    // A link is changed itself, never what it points to.
    await lchown(join(entry.parentPath, entry.name), uid, uid);
  }
}
