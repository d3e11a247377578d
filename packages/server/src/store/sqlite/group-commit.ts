import { failpoint } from "../../failpoint.ts";
import type { StoreDatabase } from "./database.ts";
import type { Operation } from "./module.ts";
import { packError, type Reply } from "./protocol.ts";
import { isStorageFailure } from "./storage-failure.ts";

/** A request with the operation that it names. */
export interface Call {
  id: number;
  /** As tests name it, such as `store.queue.settle`. */
  name: string;
  run: Operation;
  args: unknown;
  writes: boolean;
  /** Lets a full disk become less full. */
  freeing: boolean;
}

export type GroupOutcome = { ok: true; replies: Reply[] } | { ok: false; cause: unknown };

/**
 * Runs calls in order within one transaction; the replies may be sent when it returns, as they are durable then.
 * A call that throws is undone alone. A failure of the storage undoes all of them, and none may be acknowledged.
 */
export function commitGroup(db: StoreDatabase, calls: readonly Call[]): GroupOutcome {
  const writes = calls.some((call) => call.writes);
  try {
    if (writes) db.run("BEGIN IMMEDIATE");
    const replies = calls.map((call) => (call.writes ? runWrite(db, call) : runRead(db, call)));
    if (writes) {
      for (const call of calls) failpoint(call.name);
      failpoint("store.before-commit");
      db.run("COMMIT");
      failpoint("store.after-commit");
    }
    return { ok: true, replies };
  } catch (cause) {
    rollBack(db);
    return { ok: false, cause };
  }
}

function runWrite(db: StoreDatabase, call: Call): Reply {
  db.run("SAVEPOINT call");
  try {
    const value = call.run(db, call.args as never);
    db.run("RELEASE call");
    failpoint("store.in-transaction");
    return { id: call.id, value };
  } catch (error) {
    if (isStorageFailure(error)) throw error;
    db.run("ROLLBACK TO call");
    db.run("RELEASE call");
    return { id: call.id, error: packError(error) };
  }
}

function runRead(db: StoreDatabase, call: Call): Reply {
  try {
    return { id: call.id, value: call.run(db, call.args as never) };
  } catch (error) {
    if (isStorageFailure(error)) throw error;
    return { id: call.id, error: packError(error) };
  }
}

function rollBack(db: StoreDatabase): void {
  // SQLite has already rolled back by itself after some of its errors.
  if (!db.isTransaction) return;
  try {
    db.run("ROLLBACK");
  } catch {
    // What made the transaction fail is the error to report.
  }
}
