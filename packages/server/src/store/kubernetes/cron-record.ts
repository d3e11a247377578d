import type { CronRun } from "../port.ts";
import type { CronRecordObject } from "./objects.ts";

/** As many as the SQLite driver keeps. */
const RUNS_KEPT_PER_TRIGGER = 100;

type Triggers = NonNullable<CronRecordObject["triggers"]>;

/** All runs of a record, oldest first within a trigger. */
export function readRuns(uid: string, triggers: Triggers = []): CronRun[] {
  return triggers.flatMap(({ id, runs }) =>
    runs.map((run) => {
      const [planned = "", state = ""] = run.split(" ");
      return { triggerId: id, uid, plannedAtMs: Number(planned), state: state as CronRun["state"] };
    }),
  );
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

/** The record with a run's state changed; undefined when the run is not in it, or has that state. */
export function withState(
  uid: string,
  triggers: Triggers,
  triggerId: string,
  plannedAtMs: number,
  state: CronRun["state"],
): Triggers | undefined {
  const runs = readRuns(uid, triggers).filter((run) => run.triggerId === triggerId);
  const run = runs.find((each) => each.plannedAtMs === plannedAtMs);
  if (run === undefined || run.state === state) return undefined;
  run.state = state;
  return put(triggers, triggerId, runs);
}

function put(triggers: Triggers, id: string, runs: readonly CronRun[]): Triggers {
  const written = { id, runs: runs.map(({ plannedAtMs, state }) => `${plannedAtMs} ${state}`) };
  return [...triggers.filter((trigger) => trigger.id !== id), written];
}

function oldestKept(runs: readonly CronRun[]): number {
  const newestFirst = runs.map(({ plannedAtMs }) => plannedAtMs).sort((a, b) => b - a);
  return newestFirst[RUNS_KEPT_PER_TRIGGER - 1] ?? Number.NEGATIVE_INFINITY;
}
