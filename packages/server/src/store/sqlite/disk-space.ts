import { closeSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { randomFillSync } from "node:crypto";
import { join } from "node:path";
import { isNoSpace } from "../disk-full.ts";

const CHUNK_BYTES = 1024 * 1024;

/**
 * Space set aside in the data folder, as SQLite cannot even delete rows on a full disk. The ballast is given up for what frees space,
 * and the store counts as writable again when as much as the ballast is free beside it.
 */
export class DiskSpace {
  readonly #path: string;
  readonly #bytes: number;
  #full = false;

  constructor(folder: string, ballastBytes: number) {
    this.#path = join(folder, "ballast");
    this.#bytes = ballastBytes;
  }

  get full(): boolean {
    return this.#full;
  }

  /** Makes the ballast where it is missing; a disk without room for it counts as full from the start. */
  open(): void {
    if (!this.#hasBallast()) this.#full = !this.#tryAllocate();
  }

  markFull(): void {
    this.#full = true;
  }

  freeBallast(): void {
    rmSync(this.#path, { force: true });
  }

  /** True when the disk is not full, or not any more. */
  tryRecover(): boolean {
    if (this.#full && this.#tryAllocate()) this.#full = false;
    return !this.#full;
  }

  /** True when a few pages could be written now. */
  hasSpace(): boolean {
    return this.#tryWrite(`${this.#path}.probe`, 64 * 1024, (probe) => rmSync(probe));
  }

  #tryAllocate(): boolean {
    return this.#tryWrite(`${this.#path}.new`, this.#bytes, (written) => {
      if (this.#hasBallast()) rmSync(written);
      else renameSync(written, this.#path);
    });
  }

  #hasBallast(): boolean {
    return statSync(this.#path, { throwIfNoEntry: false })?.size === this.#bytes;
  }

  #tryWrite(path: string, bytes: number, done: (path: string) => void): boolean {
    try {
      writeRandom(path, bytes);
      done(path);
      return true;
    } catch (error) {
      rmSync(path, { force: true });
      if (isNoSpace(error)) return false;
      throw error;
    }
  }
}

/** Random bytes, as some file systems would keep zeros without using space. */
function writeRandom(path: string, bytes: number): void {
  const chunk = randomFillSync(Buffer.allocUnsafe(Math.min(CHUNK_BYTES, bytes)));
  const descriptor = openSync(path, "w", 0o600);
  try {
    for (let written = 0; written < bytes; ) written += writeSync(descriptor, chunk, 0, Math.min(chunk.length, bytes - written));
  } finally {
    closeSync(descriptor);
  }
}
