import type { CronFailure, CronRun } from "../port.ts";
import type { CronRecordObject } from "./objects.ts";

/** As many as the SQLite driver keeps. */
const RUNS_KEPT_PER_TRIGGER = 100;

/** A record is one object, so that why runs failed is kept of the newest alone. */
const FAILURES_KEPT_PER_TRIGGER = 10;

type Triggers = NonNullable<CronRecordObject["triggers"]>;

export type RunChange = Pick<CronRun, "state" | "requestId" | "failure">;

/** All runs of a record, oldest first within a trigger. */
export function readRuns(uid: string, triggers: Triggers = []): CronRun[] {
  return triggers.flatMap(({ id, runs }) => runs.map((run) => ({ triggerId: id, uid, ...readRun(run) })));
}

/** Planned time, state, request id and, of what failed, code and message. */
function readRun(text: string): Omit<CronRun, "triggerId" | "uid"> {
  const [planned = "", state = "", requestId = "", code = "", ...words] = text.split(" ");
  return {
    plannedAtMs: Number(planned),
    state: state as CronRun["state"],
    ...(requestId === "" ? {} : { requestId }),
    ...(code === "" ? {} : { failure: { code: code as CronFailure["code"], error: words.join(" ") } }),
  };
}

function writeRun({ plannedAtMs, state, requestId = "", failure }: CronRun, keepsFailure: boolean): string {
  const reason = failure === undefined || !keepsFailure ? "" : `${failure.code} ${failure.error}`;
  return [plannedAtMs, state, requestId, reason].join(" ").trimEnd();
}

export function isOpen({ state }: CronRun): boolean {
  return state === "claimed" || state === "handed-over";
}

/** The record with a planned time claimed; undefined when that was claimed before, or may have been and is forgotten. */
export function withClaim(uid: string, triggers: Triggers, triggerId: string, plannedAtMs: number): Triggers | undefined {
  const runs = readRuns(uid, triggers).filter((run) => run.triggerId === triggerId);
  if (runs.some((run) => run.plannedAtMs === plannedAtMs) || plannedAtMs <= oldestKept(runs)) return undefined;
  runs.push({ triggerId, uid, plannedAtMs, state: "claimed" });
  runs.sort((a, b) => a.plannedAtMs - b.plannedAtMs);
  const oldest = oldestKept(runs);
  return put(
    triggers,
    triggerId,
    runs.filter((run) => run.plannedAtMs >= oldest || isOpen(run)),
  );
}

/** The record with a run changed; undefined when the run is not in it, or has that state. */
export function withChange(
  uid: string,
  triggers: Triggers,
  triggerId: string,
  plannedAtMs: number,
  change: RunChange,
): Triggers | undefined {
  const runs = readRuns(uid, triggers).filter((run) => run.triggerId === triggerId);
  const run = runs.find((each) => each.plannedAtMs === plannedAtMs);
  if (run === undefined || run.state === change.state) return undefined;
  Object.assign(run, change);
  return put(triggers, triggerId, runs);
}

function put(triggers: Triggers, id: string, runs: readonly CronRun[]): Triggers {
  const failed = runs.filter(({ failure }) => failure !== undefined);
  const told = new Set(failed.slice(-FAILURES_KEPT_PER_TRIGGER));
  const written = { id, runs: runs.map((run) => writeRun(run, told.has(run))) };
  return [...triggers.filter((trigger) => trigger.id !== id), written];
}

function oldestKept(runs: readonly CronRun[]): number {
  const newestFirst = runs.map(({ plannedAtMs }) => plannedAtMs).sort((a, b) => b - a);
  return newestFirst[RUNS_KEPT_PER_TRIGGER - 1] ?? Number.NEGATIVE_INFINITY;
}
