import { closeSync, openSync, statSync } from "node:fs";
import { KsError } from "@kube-serverless/contracts/error";
import { StoreDatabase } from "./database.ts";
import { migrate } from "./migrate.ts";
import type { StoreModule } from "./module.ts";
import { sqliteCode } from "./storage-failure.ts";

/** "KSls" in ASCII: tells our files from other SQLite databases. */
const APPLICATION_ID = 0x4b536c73;
const SYNCHRONOUS = { metrics: 1, state: 2 } as const;
const SQLITE_BUSY = 5;
// 8 MiB, checked in some 40 ms, and 64 MiB, in 350 ms.
const CHECKED_PAGES = { afterCleanEnd: 2048, afterCrash: 16_384 } as const;
const UNREADABLE = new Set([11, 26]);

/**
 * Opens or creates one file of the store with the schemas of its modules.
 * @throws KsError `STORE_UNAVAILABLE` saying what is wrong with the file; it is left as it was.
 */
export function openDatabase(path: string, kind: "state" | "metrics", modules: readonly StoreModule[]): StoreDatabase {
  const isCrashed = hasLog(path);
  // SQLite gives its side files the mode of the main one.
  closeSync(openSync(path, "a", 0o600));
  const db = new StoreDatabase(path);
  try {
    // Held for life: no one else's reader can keep the log from shrinking, and no shared-memory file has to grow on a full disk.
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;");
    checkOwner(db, path);
    checkStructure(db, isCrashed ? CHECKED_PAGES.afterCrash : CHECKED_PAGES.afterCleanEnd);
    db.exec(`PRAGMA synchronous = ${SYNCHRONOUS[kind]}`);
    migrate(db, modules, () => claim(db));
    db.exec("PRAGMA journal_size_limit = 16777216;");
    if (kind === "state") db.exec("PRAGMA wal_autocheckpoint = 0;");
    assertPragmas(db, kind);
    return db;
  } catch (error) {
    db.close();
    throw describeOpenFailure(path, error);
  }
}

function claim(db: StoreDatabase): void {
  const isNew = applicationId(db) !== APPLICATION_ID;
  // Lets a full disk be given space back; taken only before the first write.
  if (isNew) db.exec("PRAGMA auto_vacuum = INCREMENTAL");
  db.exec("PRAGMA journal_mode = WAL");
  if (isNew) db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
}

function applicationId(db: StoreDatabase): number {
  return db.get<{ application_id: number }>("PRAGMA application_id")?.application_id ?? 0;
}

function checkOwner(db: StoreDatabase, path: string): void {
  const id = applicationId(db);
  if (id === APPLICATION_ID) return;
  const tables = db.get<{ n: number }>("SELECT count(*) AS n FROM sqlite_schema")?.n ?? 0;
  if (id === 0 && tables === 0) return;
  throw new KsError("STORE_UNAVAILABLE", { message: `${path} is another program's database: choose another data folder` });
}

/** SQLite removes the log as it closes the file: where one lies, the last server was cut off. */
function hasLog(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** Finds damage before anything is built on it; only in files small enough that it does not delay the start. */
function checkStructure(db: StoreDatabase, maxPages: number): void {
  const pages = db.get<{ page_count: number }>("PRAGMA page_count")?.page_count ?? 0;
  if (pages > maxPages) return;
  const result = db.get<{ quick_check: string }>("PRAGMA quick_check(1)")?.quick_check;
  if (result !== "ok") throw damagedError(db.path, result ?? "it cannot be read");
}

/** A store that silently ran without syncing would lose what it acknowledged, and only at the next power cut. */
function assertPragmas(db: StoreDatabase, kind: "state" | "metrics"): void {
  const actual = {
    journal_mode: db.get<{ journal_mode: string }>("PRAGMA journal_mode")?.journal_mode,
    synchronous: db.get<{ synchronous: number }>("PRAGMA synchronous")?.synchronous,
    foreign_keys: db.get<{ foreign_keys: number }>("PRAGMA foreign_keys")?.foreign_keys,
  };
  if (actual.journal_mode === "wal" && actual.synchronous === SYNCHRONOUS[kind] && actual.foreign_keys === 1) return;
  throw new Error(`SQLite did not accept its settings: ${JSON.stringify(actual)}; use a data folder on a local disk`);
}

function describeOpenFailure(path: string, error: unknown): unknown {
  if (error instanceof KsError) return error;
  const code = (sqliteCode(error) ?? 0) & 0xff;
  const reason = error instanceof Error ? error.message : String(error);
  if (UNREADABLE.has(code)) return damagedError(path, reason, error);
  const message =
    code === SQLITE_BUSY
      ? `${path} is in use by another program: close it, or choose another data folder`
      : `${path} cannot be opened: ${reason}`;
  return new KsError("STORE_UNAVAILABLE", { message, cause: error });
}

function damagedError(path: string, reason: string, cause?: unknown): KsError {
  // SQLite's findings may have several lines.
  const finding = reason.split("\n").at(-1);
  return new KsError("STORE_UNAVAILABLE", {
    message: `${path} is damaged (${finding}): put a backup in its place, or move it away to start empty`,
    cause,
  });
}
