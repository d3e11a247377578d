import { appendFileSync } from "node:fs";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { armFailpoint } from "../../../packages/server/src/failpoint.ts";
import { createSqliteStore } from "../../../packages/server/src/store/sqlite/sqlite-store.ts";
import { TaskGroup } from "../../../packages/server/src/task-group.ts";
import { CronScheduler } from "../../../packages/server/src/triggers/cron.ts";

/** Runs a trigger of every second on the real store until it is killed; argv: data folder, file of calls, missed, failpoint. */
const [folder, callsFile, missed, failpoint] = process.argv.slice(2) as [string, string, "skip" | "once", string | undefined];
const fail = (fields: object, message: string): void => console.error(message, fields);
const store = await createSqliteStore({ folder, onFatal: (error) => fail({ error }, "fatal") });
const scheduler = new CronScheduler({
  store,
  clock: systemClock,
  tasks: new TaskGroup({ error: fail }),
  log: { warn: () => {} },
  invoke: async (_uid, { trigger }) => {
    appendFileSync(callsFile, `${trigger.plannedAt}\n`);
    return { ok: true };
  },
});
armFailpoint(failpoint);
await scheduler.start([{ uid: "u1", config: { schedule: "* * * * * *", missed } }]);
