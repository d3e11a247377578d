import { closeSync, fstatSync, readdirSync, readFileSync } from "node:fs";

const O_CLOEXEC = 0o2000000;
const O_ACCMODE = 0o3;
const READABLE_BY_ALL = 0o004;

/**
 * Closes what the server was given by whoever started it and would hand on to every replica. Node.js opens everything
 * close-on-exec and marks what it inherits, but stops looking at the first gap above descriptor 15.
 *
 * Files that everybody may read are left alone: OpenSSL reads certificates on a thread of its own at start, without
 * close-on-exec, and closing a descriptor under another thread would make it read, and close, whatever gets its number next.
 */
export function closeInheritedDescriptors(): void {
  for (const descriptor of listDescriptors()) {
    if (descriptor > 2 && isHandedOn(descriptor)) closeQuietly(descriptor);
  }
}

function listDescriptors(): number[] {
  try {
    return readdirSync("/proc/self/fd").map(Number);
  } catch {
    return [];
  }
}

function isHandedOn(descriptor: number): boolean {
  try {
    const text = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "latin1"))?.[1];
    const flags = text === undefined ? O_CLOEXEC : Number.parseInt(text, 8);
    if ((flags & O_CLOEXEC) !== 0) return false;
    const stats = fstatSync(descriptor);
    return !(stats.isFile() && (flags & O_ACCMODE) === 0 && (stats.mode & READABLE_BY_ALL) !== 0);
  } catch {
    // It was the listing's own.
    return false;
  }
}

function closeQuietly(descriptor: number): void {
  try {
    closeSync(descriptor);
  } catch {
    // It was the listing's own.
  }
}
