import { KsError } from "@kube-serverless/contracts";
import type { LogQuery } from "../logs/query.ts";

const MAX_TAIL = 10_000;
const UNITS_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `tail`, `since` (a time, or how long ago as `10m`) and `requestId`. @throws KsError `BAD_REQUEST` */
export function parseLogQuery(query: URLSearchParams, nowMs: number): LogQuery {
  const parsed: LogQuery = {};
  const [tail, since, requestId] = [query.get("tail"), query.get("since"), query.get("requestId")];
  if (tail !== null) parsed.tail = parseTail(tail);
  if (since !== null) parsed.sinceMs = parseSince(since, nowMs);
  if (requestId !== null) parsed.requestId = requestId;
  return parsed;
}

/** `?follow`, `?follow=true`. */
export function wantsFollow(query: URLSearchParams): boolean {
  const follow = query.get("follow");
  if (follow === null || follow === "false" || follow === "0") return false;
  if (follow === "" || follow === "true" || follow === "1") return true;
  throw new KsError("BAD_REQUEST", { message: "Bad request: follow must be true or false" });
}

function parseTail(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= MAX_TAIL) return Number(text);
  throw new KsError("BAD_REQUEST", { message: `Bad request: tail must be a whole number from 0 to ${MAX_TAIL}` });
}

function parseSince(text: string, nowMs: number): number {
  const ago = /^(\d{1,9})([smhd])$/.exec(text);
  if (ago !== null) return nowMs - Number(ago[1]) * (UNITS_MS[ago[2] ?? ""] ?? 0);
  // A date without a zone would be read in the server's own.
  const sinceMs = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/i.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(sinceMs)) return sinceMs;
  throw new KsError("BAD_REQUEST", {
    message: "Bad request: since must be a time such as 2026-01-31T12:00:00Z, or how long ago such as 10m",
  });
}
