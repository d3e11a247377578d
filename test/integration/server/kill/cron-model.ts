import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** What the function tells of each run. */
export interface CronRan {
  kind: "cron";
  plannedAt: string;
}

const OUTCOMES = ["succeeded", "failed", "skipped", "interrupted", "missed"];

/** Each planned time ran once at most, and every run that the store of a server that ended cleanly knows has its outcome. */
export function checkCronRuns(dataFolder: string, events: readonly object[]): Record<string, number> {
  const ran = events.filter((event): event is CronRan => (event as CronRan).kind === "cron").map(({ plannedAt }) => Date.parse(plannedAt));
  assert.deepEqual(
    ran.filter((plannedAtMs, index) => ran.indexOf(plannedAtMs) !== index),
    [],
    "planned times that ran twice",
  );
  const rows = readRuns(dataFolder);
  for (const { plannedAtMs, state } of rows) {
    assert.ok(OUTCOMES.includes(state), `the run of ${new Date(plannedAtMs).toISOString()} is left ${state}`);
    if (state === "succeeded") assert.ok(ran.includes(plannedAtMs), `${new Date(plannedAtMs).toISOString()} is said to have run`);
  }
  const oldestKeptMs = Math.min(...rows.map(({ plannedAtMs }) => plannedAtMs));
  for (const plannedAtMs of ran.filter((atMs) => atMs >= oldestKeptMs)) {
    const state = rows.find((row) => row.plannedAtMs === plannedAtMs)?.state;
    assert.ok(
      state === "succeeded" || state === "interrupted",
      `the run of ${new Date(plannedAtMs).toISOString()} is recorded as ${state}`,
    );
  }
  return Object.fromEntries(OUTCOMES.map((outcome) => [outcome, rows.filter(({ state }) => state === outcome).length]));
}

function readRuns(dataFolder: string): { plannedAtMs: number; state: string }[] {
  const database = new DatabaseSync(join(dataFolder, "state.db"), { readOnly: true });
  try {
    return database.prepare("SELECT planned_at_ms AS plannedAtMs, state FROM cron_runs").all() as { plannedAtMs: number; state: string }[];
  } finally {
    database.close();
  }
}
