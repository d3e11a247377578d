import { KsError } from "@kube-serverless/contracts/error";

/** `full`: no space is left, which passes; `broken`: the file cannot be trusted from here on. */
export type StorageFailure = "full" | "broken";

const SQLITE_FULL = 13;
const SQLITE_IOERR_WRITE = 10 | (3 << 8);
// Out of memory, read-only, I/O error, corrupt, cannot open, not a database.
const BROKEN = new Set([7, 8, 10, 11, 14, 26]);

/**
 * Tells a failure of the storage from an error of the operation (undefined).
 * `hasSpace` is asked after a failed write, as SQLite reports an exceeded quota like a broken disk.
 */
export function classifyFailure(error: unknown, hasSpace: () => boolean): StorageFailure | undefined {
  const code = sqliteCode(error);
  if (code === undefined) return undefined;
  if ((code & 0xff) === SQLITE_FULL) return "full";
  if (code === SQLITE_IOERR_WRITE && !hasSpace()) return "full";
  return BROKEN.has(code & 0xff) ? "broken" : undefined;
}

/** True for errors that SQLite raised about its file, and for no others. */
export function isStorageFailure(error: unknown): boolean {
  return classifyFailure(error, () => true) !== undefined;
}

export function brokenStoreError(path: string, cause: unknown): KsError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new KsError("STORE_UNAVAILABLE", {
    message: `The store failed at ${path}: ${reason}; check the disk and the system's log, then start the server again`,
    cause,
  });
}

/** SQLite's extended result code, when the error came from it. */
export function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode : undefined;
}
