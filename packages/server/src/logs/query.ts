import type { LogEntry } from "@kube-serverless/contracts";

/** What is asked of a function's log. */
export interface LogQuery {
  /** The newest so many. @default 100 */
  tail?: number;
  /** Entries of this time (milliseconds since 1970) and later. */
  sinceMs?: number;
  requestId?: string;
}

export const DEFAULT_TAIL = 100;

/** Replicas stamp their lines themselves, so neighbours may be out of order by what they lag. */
const DISORDER_MS = 60_000;

export function matchesQuery(entry: LogEntry, query: LogQuery): boolean {
  if (query.requestId !== undefined && entry.requestId !== query.requestId) return false;
  return query.sinceMs === undefined || Date.parse(entry.time) >= query.sinceMs;
}

/** True when, reading backwards, nothing that is asked for can come any more. */
export function isBefore(entry: LogEntry, query: LogQuery): boolean {
  return query.sinceMs !== undefined && Date.parse(entry.time) < query.sinceMs - DISORDER_MS;
}
