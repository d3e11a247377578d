import { KsError } from "@kube-serverless/contracts/error";
import type { StoreDatabase } from "../../store/sqlite/database.ts";
import type { StoreModule } from "../../store/sqlite/module.ts";

/** States of a message. `LEASED`: in flight at a consumer of the process that owns the file. */
const READY = 0;
const DELAYED = 1;
const LEASED = 2;

const SCHEMA = `
  CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

  CREATE TABLE queue_bindings (
    queue_id INTEGER NOT NULL REFERENCES queues (id),
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    PRIMARY KEY (queue_id, exchange, routing_key)
  ) STRICT, WITHOUT ROWID;

  -- AUTOINCREMENT: an id is never used again, so that ids tell the order of publishing.
  CREATE TABLE queue_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue_id INTEGER NOT NULL REFERENCES queues (id),
    state INTEGER NOT NULL,
    position INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    redelivered INTEGER NOT NULL DEFAULT 0,
    first_failed_at_ms INTEGER
  ) STRICT;
  CREATE INDEX queue_messages_ready ON queue_messages (queue_id, position) WHERE state = ${READY};
  CREATE INDEX queue_messages_delayed ON queue_messages (queue_id, due_at_ms) WHERE state = ${DELAYED};
  CREATE INDEX queue_messages_leased ON queue_messages (queue_id) WHERE state = ${LEASED};

  -- Apart from the state, so that a lease does not write the body once more.
  CREATE TABLE queue_payloads (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL,
    content_type TEXT,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
`;

export interface DeclareArgs {
  queue: string;
  exchange?: string | undefined;
  routingKey?: string | undefined;
}

export interface PublishArgs {
  queue: string;
  messageId: string;
  contentType: string | undefined;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}

export interface ClaimArgs {
  queue: string;
  limit: number;
  nowMs: number;
  /** No message waits longer for a retry; one that is due later was stamped by a clock that has gone back since. */
  maxDelayMs: number;
}

export interface ClaimedMessage {
  id: number;
  messageId: string;
  contentType: string | null;
  headers: Record<string, string>;
  body: Uint8Array;
  failures: number;
  redelivered: boolean;
  firstFailedAtMs: number | null;
}

export interface ClaimResult {
  messages: ClaimedMessage[];
  /** When the next retry is due; null when none waits. */
  nextDueAtMs: number | null;
}

export type SettleArgs =
  | { kind: "ack"; id: number }
  | { kind: "release"; id: number }
  | { kind: "retry"; id: number; dueAtMs: number; failures: number; firstFailedAtMs: number }
  | { kind: "dead"; id: number; deadQueue: string; headers: Record<string, string> };

export interface StatsResult {
  ready: number;
  leased: number;
}

interface MessageRow {
  id: number;
  message_id: string;
  content_type: string | null;
  headers: string;
  body: Uint8Array;
  failures: number;
  redelivered: number;
  first_failed_at_ms: number | null;
}

/** The embedded queue's tables; run by the store's worker thread, and called by `EmbeddedQueues`. */
export const storeModule: StoreModule = {
  name: "queue",
  migrations: [SCHEMA],
  operations: { recover, declare, publish, claim, settle },
  queries: { stats },
  // On a full disk messages are still worked off.
  freeing: ["recover", "claim", "settle"],
};

/** Frees what a process that ended had in flight: each counts as an attempt, as its outcome is lost. */
function recover(db: StoreDatabase): void {
  db.run(`UPDATE queue_messages SET state = ${READY}, failures = failures + 1, redelivered = 1 WHERE state = ${LEASED}`);
}

function declare(db: StoreDatabase, { queue, exchange, routingKey }: DeclareArgs): void {
  const queueId = ensureQueue(db, queue);
  if (exchange === undefined) return;
  const insert = "INSERT OR IGNORE INTO queue_bindings (queue_id, exchange, routing_key) VALUES (?, ?, ?)";
  db.run(insert, queueId, exchange, routingKey ?? queue);
}

function publish(db: StoreDatabase, { queue, messageId, contentType, headers, body }: PublishArgs): void {
  const queueId = findQueue(db, queue);
  if (queueId === undefined) throw new KsError("QUEUE_NOT_FOUND", { message: `Queue not found: ${queue}` });
  const { lastInsertRowid: id } = db.run(`INSERT INTO queue_messages (queue_id, state, position) VALUES (?, ${READY}, 0)`, queueId);
  db.run("UPDATE queue_messages SET position = id WHERE id = ?", id);
  const insert = "INSERT INTO queue_payloads (id, message_id, content_type, headers, body) VALUES (?, ?, ?, ?, ?)";
  db.run(insert, id, messageId, contentType ?? null, JSON.stringify(headers), body);
}

/** Leases the next messages of a queue. */
function claim(db: StoreDatabase, { queue, limit, nowMs, maxDelayMs }: ClaimArgs): ClaimResult {
  const queueId = findQueue(db, queue);
  if (queueId === undefined) return { messages: [], nextDueAtMs: null };
  queueUpDue(db, queueId, nowMs, maxDelayMs);
  const rows = db.all<MessageRow>(
    `SELECT m.id, m.failures, m.redelivered, m.first_failed_at_ms, p.message_id, p.content_type, p.headers, p.body
     FROM queue_messages AS m JOIN queue_payloads AS p ON p.id = m.id
     WHERE m.queue_id = ? AND m.state = ${READY} ORDER BY m.position, m.id LIMIT ?`,
    queueId,
    limit,
  );
  for (const { id } of rows) db.run(`UPDATE queue_messages SET state = ${LEASED} WHERE id = ?`, id);
  const next = `SELECT min(due_at_ms) AS at_ms FROM queue_messages WHERE queue_id = ? AND state = ${DELAYED}`;
  return { messages: rows.map(readRow), nextDueAtMs: db.get<{ at_ms: number | null }>(next, queueId)?.at_ms ?? null };
}

/** Messages whose wait is over get in line behind all that have been published by now. */
function queueUpDue(db: StoreDatabase, queueId: number, nowMs: number, maxDelayMs: number): void {
  db.run(
    `UPDATE queue_messages SET state = ${READY}, position = (SELECT seq FROM sqlite_sequence WHERE name = 'queue_messages')
     WHERE queue_id = ? AND state = ${DELAYED} AND (due_at_ms <= ? OR due_at_ms > ?)`,
    queueId,
    nowMs,
    nowMs + maxDelayMs,
  );
}

function settle(db: StoreDatabase, args: SettleArgs): void {
  const { id } = args;
  if (args.kind === "ack") {
    db.run("DELETE FROM queue_messages WHERE id = ?", id);
    db.run("DELETE FROM queue_payloads WHERE id = ?", id);
  } else if (args.kind === "release") {
    db.run(`UPDATE queue_messages SET state = ${READY}, redelivered = 1 WHERE id = ?`, id);
  } else if (args.kind === "retry") {
    const retry = `UPDATE queue_messages SET state = ${DELAYED}, redelivered = 1, due_at_ms = ?, failures = ?, first_failed_at_ms = ? WHERE id = ?`;
    db.run(retry, args.dueAtMs, args.failures, args.firstFailedAtMs, id);
  } else {
    bury(db, id, args.deadQueue, args.headers);
  }
}

/** A dead letter begins anew in its queue: whoever consumes that has all attempts before it. */
function bury(db: StoreDatabase, id: number, deadQueue: string, headers: Record<string, string>): void {
  db.run(
    `UPDATE queue_messages SET queue_id = ?, state = ${READY}, failures = 0, redelivered = 0, first_failed_at_ms = NULL,
     position = (SELECT seq FROM sqlite_sequence WHERE name = 'queue_messages') WHERE id = ?`,
    ensureQueue(db, deadQueue),
    id,
  );
  db.run("UPDATE queue_payloads SET headers = ? WHERE id = ?", JSON.stringify(headers), id);
}

function stats(db: StoreDatabase, { queue }: { queue: string }): StatsResult | undefined {
  const queueId = findQueue(db, queue);
  if (queueId === undefined) return undefined;
  // One count an index: each holds the messages of one state alone.
  const ready = countState(db, `SELECT count(*) AS n FROM queue_messages WHERE queue_id = ? AND state = ${READY}`, queueId);
  const delayed = countState(db, `SELECT count(*) AS n FROM queue_messages WHERE queue_id = ? AND state = ${DELAYED}`, queueId);
  const leased = countState(db, `SELECT count(*) AS n FROM queue_messages WHERE queue_id = ? AND state = ${LEASED}`, queueId);
  return { ready: ready + delayed, leased };
}

function countState(db: StoreDatabase, sql: string, queueId: number): number {
  return db.get<{ n: number }>(sql, queueId)?.n ?? 0;
}

function findQueue(db: StoreDatabase, name: string): number | undefined {
  return db.get<{ id: number }>("SELECT id FROM queues WHERE name = ?", name)?.id;
}

function ensureQueue(db: StoreDatabase, name: string): number {
  return findQueue(db, name) ?? db.run("INSERT INTO queues (name) VALUES (?)", name).lastInsertRowid;
}

function readRow(row: MessageRow): ClaimedMessage {
  return {
    id: row.id,
    messageId: row.message_id,
    contentType: row.content_type,
    headers: JSON.parse(row.headers) as Record<string, string>,
    body: row.body,
    failures: row.failures,
    redelivered: row.redelivered === 1,
    firstFailedAtMs: row.first_failed_at_ms,
  };
}
