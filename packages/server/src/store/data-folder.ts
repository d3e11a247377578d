import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { KsError } from "@kube-serverless/contracts/error";

/**
 * The folder that holds everything a server keeps, used by one process at a time:
 * `state.db` (functions, code, cron runs, queues) and `metrics.db`, each with a `-wal` file while open; `ballast`, space kept for a full
 * disk; `*.before-*`, copies from before an upgrade; `lock.db`, locked while a server runs, and `server.pid`, which names it.
 */
export interface DataFolder {
  readonly path: string;
  /** Lets another server have it. */
  close(): void;
}

/**
 * Makes the folder if it is missing, for its owner's eyes alone, and locks it.
 * @throws KsError `STORE_UNAVAILABLE` naming the process that uses it, or why it cannot be used.
 */
export function openDataFolder(folder: string): DataFolder {
  const path = resolve(folder);
  makePrivate(path);
  const lock = takeLock(path);
  writePid(path);
  return {
    path,
    close: () => {
      if (lock.isOpen) lock.close();
    },
  };
}

function makePrivate(path: string): void {
  try {
    const created = makeFolders(path);
    if (created !== undefined) syncFolder(dirname(created));
    chmodSync(path, 0o700);
  } catch (cause) {
    throw new KsError("STORE_UNAVAILABLE", {
      message: `The data folder ${path} cannot be used: ${(cause as Error).message}; choose another one, or make it yours`,
      cause,
    });
  }
}

/** Step by step, as Node.js' own way goes round for ever where the kernel lets nothing be made, such as below /proc. Tells the first it made. */
function makeFolders(path: string): string | undefined {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return undefined;
  const above = dirname(path) === path ? undefined : makeFolders(dirname(path));
  mkdirSync(path, { mode: 0o700 });
  return above ?? path;
}

/** So that a folder just made is still there after a power cut. */
function syncFolder(path: string): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** An open exclusive transaction is a lock that the kernel takes back when the process dies, however it dies. */
function takeLock(folder: string): DatabaseSync {
  const file = join(folder, "lock.db");
  let lock: DatabaseSync | undefined;
  try {
    closeSync(openSync(file, "a", 0o600));
    lock = new DatabaseSync(file, { timeout: 0 });
    // A journal in memory, so that taking the lock needs no space on a full disk.
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE;");
    return lock;
  } catch (cause) {
    lock?.close();
    throw describeLockFailure(folder, cause);
  }
}

function describeLockFailure(folder: string, cause: unknown): KsError {
  const isBusy = cause instanceof Error && "errcode" in cause && cause.errcode === 5;
  const message = isBusy
    ? `The data folder ${folder} is in use by ${describeHolder(folder)}: stop it, or choose another data folder`
    : `The data folder ${folder} cannot be locked: ${cause instanceof Error ? cause.message : String(cause)}; it must be on a local disk`;
  return new KsError("STORE_UNAVAILABLE", { message, cause });
}

function describeHolder(folder: string): string {
  const pid = readPid(folder);
  if (pid === undefined) return "another server";
  return pid === process.pid ? `this same process (${pid})` : `another server (process ${pid})`;
}

function readPid(folder: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(folder, "server.pid"), "utf8"));
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function writePid(folder: string): void {
  try {
    writeFileSync(join(folder, "server.pid"), `${process.pid}\n`, { mode: 0o600 });
  } catch {
    // It only makes another server's message better, and a full disk must not keep this one from starting.
  }
}
