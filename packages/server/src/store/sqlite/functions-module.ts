import { KsError } from "@kube-serverless/contracts/error";
import type { StoreDatabase } from "./database.ts";
import type { StoreModule } from "./module.ts";

/** A function as a row: its nested parts are JSON, which the main thread alone reads. */
export interface FunctionRow {
  uid: string;
  name: string;
  createdAt: string;
  generation: number;
  revision: number;
  spec: string;
  status: string;
  served: string | null;
}

export interface PutFunction {
  row: FunctionRow;
  code: string | undefined;
  servedRevision: number | undefined;
}

const MIGRATIONS = [
  `CREATE TABLE functions (
     uid TEXT PRIMARY KEY,
     name TEXT NOT NULL UNIQUE,
     created_at TEXT NOT NULL,
     generation INTEGER NOT NULL,
     revision INTEGER NOT NULL,
     spec TEXT NOT NULL,
     status TEXT NOT NULL,
     served TEXT
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE code (
     uid TEXT NOT NULL REFERENCES functions (uid) ON DELETE CASCADE,
     revision INTEGER NOT NULL,
     code TEXT NOT NULL,
     PRIMARY KEY (uid, revision)
   ) STRICT;`,
];

function load(db: StoreDatabase): FunctionRow[] {
  return db.all<FunctionRow>(
    "SELECT uid, name, created_at AS createdAt, generation, revision, spec, status, served FROM functions ORDER BY name",
  );
}

function uids(db: StoreDatabase): string[] {
  return db.all<{ uid: string }>("SELECT uid FROM functions").map((row) => row.uid);
}

function readCode(db: StoreDatabase, { uid, revision }: { uid: string; revision: number }): string {
  const row = db.get<{ code: string }>("SELECT code FROM code WHERE uid = ? AND revision = ?", uid, revision);
  if (row === undefined) throw missingCode(uid, revision);
  return row.code;
}

function put(db: StoreDatabase, { row, code, servedRevision }: PutFunction): void {
  assertNameFree(db, row);
  db.run(
    `INSERT INTO functions (uid, name, created_at, generation, revision, spec, status, served) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (uid) DO UPDATE SET name = excluded.name, created_at = excluded.created_at, generation = excluded.generation,
       revision = excluded.revision, spec = excluded.spec, status = excluded.status, served = excluded.served`,
    row.uid,
    row.name,
    row.createdAt,
    row.generation,
    row.revision,
    row.spec,
    row.status,
    row.served,
  );
  if (code !== undefined) db.run("INSERT OR REPLACE INTO code (uid, revision, code) VALUES (?, ?, ?)", row.uid, row.revision, code);
  db.run("DELETE FROM code WHERE uid = ? AND revision NOT IN (?, ?)", row.uid, row.revision, servedRevision ?? row.revision);
  for (const revision of new Set([row.revision, servedRevision ?? row.revision])) assertCode(db, row.uid, revision);
}

function assertNameFree(db: StoreDatabase, { uid, name }: FunctionRow): void {
  const holder = db.get<{ uid: string }>("SELECT uid FROM functions WHERE name = ?", name);
  if (holder !== undefined && holder.uid !== uid) throw new KsError("FUNCTION_EXISTS");
}

function assertCode(db: StoreDatabase, uid: string, revision: number): void {
  if (db.get("SELECT 1 FROM code WHERE uid = ? AND revision = ?", uid, revision) === undefined) throw missingCode(uid, revision);
}

function missingCode(uid: string, revision: number): KsError {
  return new KsError("INTERNAL", { message: `The code of revision ${revision} is not kept`, details: { uid, revision } });
}

function remove(db: StoreDatabase, { uid }: { uid: string }): void {
  db.run("DELETE FROM functions WHERE uid = ?", uid);
  db.run("DELETE FROM cron_runs WHERE uid = ?", uid);
}

/** Functions and the code of the revisions that are wanted or serve. */
export const storeModule: StoreModule = {
  name: "functions",
  migrations: MIGRATIONS,
  operations: { put, remove },
  queries: { load, uids, readCode },
  freeing: ["remove"],
};
