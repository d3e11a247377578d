import type { CronFailure, CronOutcome, CronRun } from "../port.ts";
import type { StoreDatabase } from "./database.ts";
import type { StoreModule } from "./module.ts";

// More than the 60 planned times that a trigger by the second can have within the 60 s in which a late run still starts.
const RUNS_KEPT_PER_TRIGGER = 100;

const MIGRATIONS = [
  `CREATE TABLE cron_runs (
     trigger_id TEXT NOT NULL,
     planned_at_ms INTEGER NOT NULL,
     uid TEXT NOT NULL,
     state TEXT NOT NULL,
     PRIMARY KEY (trigger_id, planned_at_ms)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX cron_runs_by_function ON cron_runs (uid, planned_at_ms);
   CREATE INDEX cron_runs_open ON cron_runs (state) WHERE state IN ('claimed', 'handed-over');`,
  `ALTER TABLE cron_runs ADD COLUMN request_id TEXT;
   ALTER TABLE cron_runs ADD COLUMN error_code TEXT;
   ALTER TABLE cron_runs ADD COLUMN error TEXT;`,
];

interface Key {
  triggerId: string;
  plannedAtMs: number;
}

interface Row extends Key {
  uid: string;
  state: CronRun["state"];
  requestId: string | null;
  code: CronFailure["code"] | null;
  error: string | null;
}

const COLUMNS = "trigger_id AS triggerId, uid, planned_at_ms AS plannedAtMs, state, request_id AS requestId, error_code AS code, error";

function claim(db: StoreDatabase, { triggerId, uid, plannedAtMs }: Key & { uid: string }): boolean {
  // Older than the kept history: it may have been claimed and forgotten, so it can never be claimed again.
  if (plannedAtMs <= oldestKept(db, triggerId)) return false;
  const { changes } = db.run(
    "INSERT OR IGNORE INTO cron_runs (trigger_id, planned_at_ms, uid, state) VALUES (?, ?, ?, 'claimed')",
    triggerId,
    plannedAtMs,
    uid,
  );
  if (changes === 0) return false;
  db.run(
    "DELETE FROM cron_runs WHERE trigger_id = ? AND planned_at_ms < ? AND state NOT IN ('claimed', 'handed-over')",
    triggerId,
    oldestKept(db, triggerId),
  );
  return true;
}

function oldestKept(db: StoreDatabase, triggerId: string): number {
  const row = db.get<{ atMs: number }>(
    "SELECT planned_at_ms AS atMs FROM cron_runs WHERE trigger_id = ? ORDER BY planned_at_ms DESC LIMIT 1 OFFSET ?",
    triggerId,
    RUNS_KEPT_PER_TRIGGER - 1,
  );
  return row?.atMs ?? Number.NEGATIVE_INFINITY;
}

function handOver(db: StoreDatabase, { triggerId, plannedAtMs, requestId }: Key & { requestId: string }): void {
  db.run(
    "UPDATE cron_runs SET state = 'handed-over', request_id = ? WHERE trigger_id = ? AND planned_at_ms = ?",
    requestId,
    triggerId,
    plannedAtMs,
  );
}

function finish(db: StoreDatabase, run: Key & { outcome: CronOutcome; failure?: CronFailure }): void {
  db.run(
    "UPDATE cron_runs SET state = ?, error_code = ?, error = ? WHERE trigger_id = ? AND planned_at_ms = ?",
    run.outcome,
    run.failure?.code ?? null,
    run.failure?.error ?? null,
    run.triggerId,
    run.plannedAtMs,
  );
}

function open(db: StoreDatabase): CronRun[] {
  const rows = db.all<Row>(`SELECT ${COLUMNS} FROM cron_runs WHERE state IN ('claimed', 'handed-over') ORDER BY planned_at_ms`);
  return rows.map(readRow);
}

function latest(db: StoreDatabase): { triggerId: string; atMs: number }[] {
  return db.all("SELECT trigger_id AS triggerId, max(planned_at_ms) AS atMs FROM cron_runs GROUP BY trigger_id");
}

function list(db: StoreDatabase, { uid, limit }: { uid: string; limit: number }): CronRun[] {
  return db.all<Row>(`SELECT ${COLUMNS} FROM cron_runs WHERE uid = ? ORDER BY planned_at_ms DESC LIMIT ?`, uid, limit).map(readRow);
}

function readRow({ requestId, code, error, ...run }: Row): CronRun {
  return {
    ...run,
    ...(requestId === null ? {} : { requestId }),
    ...(code === null ? {} : { failure: { code, error: error ?? "" } }),
  };
}

/** Claims of planned times, and what became of them. */
export const storeModule: StoreModule = {
  name: "cron",
  migrations: MIGRATIONS,
  operations: { claim, handOver, finish },
  queries: { open, latest, list },
};
