import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform } from "./support/platform.ts";
import { RUNTIMES } from "./support/vectors.ts";

const platform = await openPlatform();

/** Keeps the events of its runs, and shows them when invoked. */
const RECORDING = `const runs = []; exports.handler = async (event) => {
  if (event.path === '/invoke') return runs;
  const { rawBody, ...rest } = event;
  runs.push({ ...rest, atMs: Date.now() });
  await new Promise((resolve) => setTimeout(resolve, event.body?.ms ?? 0));
  if (event.body?.fail) throw new Error('not today');
};`;

interface Run {
  method: string;
  path: string;
  body: unknown;
  headers: Record<string, string>;
  query: object;
  requestId: string;
  trigger: { type: string; schedule: string; plannedAt: string };
  atMs: number;
}

function cron(schedule: string, rest: object = {}): object {
  return { type: "cron", config: { schedule, ...rest } };
}

function deploy(...triggers: object[]): Promise<string> {
  return platform.deploy({ code: RECORDING, maxReplicas: 1, triggers });
}

async function runsOf(name: string): Promise<Run[]> {
  return (await platform.invoke(name)).json.body as Run[];
}

function waitForRuns(name: string, count: number): Promise<Run[]> {
  return waitFor(
    `${count} runs of ${name}`,
    async () => {
      const runs = await runsOf(name);
      return runs.length >= count ? runs : undefined;
    },
    15_000,
  );
}

const plannedMs = ({ trigger }: Run): number => Date.parse(trigger.plannedAt);

interface CronView {
  triggers: { schedule: string; timezone: string; nextPlannedAt: string | null }[];
  runs: { schedule: string; timezone: string; plannedAt: string; state: string; requestId?: string; code?: string; error?: string }[];
}

async function cronOf(name: string, query = ""): Promise<CronView> {
  return (await platform.get(`/functions/${name}/cron${query}`)).json as CronView;
}

describe("a cron trigger", { concurrency: true }, () => {
  test("of every second runs each second once, on time", async () => {
    const name = await deploy(cron("* * * * * *"));
    const runs = (await waitForRuns(name, 4)).slice(0, 4);
    const planned = runs.map(plannedMs);
    assert.deepEqual(
      planned.slice(1).map((ms, i) => ms - (planned[i] ?? 0)),
      [1000, 1000, 1000],
    );
    for (const run of runs) {
      assert.equal(plannedMs(run) % 1000, 0);
      const lateMs = run.atMs - plannedMs(run);
      assert.ok(lateMs > -50 && lateMs < 5000, `${lateMs} ms late`);
    }
  });

  test("makes the documented event", async () => {
    const name = await deploy(cron("*/1 * * * * *", { timezone: "Europe/Kyiv", body: { report: [1, "two"] } }));
    const [run] = await waitForRuns(name, 1);
    const { type, schedule, plannedAt } = run?.trigger ?? {};
    assert.deepEqual([run?.method, run?.path, run?.body, run?.query], ["POST", "/cron", { report: [1, "two"] }, {}]);
    assert.deepEqual([type, schedule], ["cron", "*/1 * * * * *"]);
    assert.match(String(plannedAt), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.000)?Z$/);
    assert.match(String(run?.requestId), /^[A-Za-z0-9._:/+=-]{8,128}$/);
  });

  test("without a body has null there", async () => {
    const name = await deploy(cron("* * * * * *"));
    assert.equal((await waitForRuns(name, 1))[0]?.body, null);
  });

  for (const runtime of RUNTIMES) {
    test(`calls a function in ${runtime}, and its lines and metrics show it`, async () => {
      const codes = {
        nodejs18: "exports.handler = (event) => console.log('ran', event.trigger.schedule);",
        python39: "def handler(event):\n    print('ran', event['trigger']['schedule'])\n",
        go119:
          'package f\n\nimport "fmt"\n\nfunc Handler(e map[string]any) (any, error) {\n\tfmt.Println("ran", e["trigger"].(map[string]any)["schedule"])\n\treturn nil, nil\n}\n',
      };
      const name = await platform.deploy({ runtime, code: codes[runtime], triggers: [cron("* * * * * *")] });
      await waitFor("a line", async () => /ran \* \* \* \* \* \*/.test((await platform.get(`/functions/${name}/logs`)).text), 15_000);
      await waitFor("a count", async () => (await platform.get(`/functions/${name}/metrics`)).json.invocations > 0);
    });
  }

  test("with overlap skip never runs beside itself; with allow it does", async () => {
    const skipping = await deploy(cron("* * * * * *", { overlap: "skip", body: { ms: 2500 } }));
    const allowing = await deploy(cron("* * * * * *", { overlap: "allow", body: { ms: 2500 } }));
    const [skipped, allowed] = await Promise.all([waitForRuns(skipping, 2), waitForRuns(allowing, 3)]);
    assert.ok((skipped[1]?.atMs ?? 0) - (skipped[0]?.atMs ?? 0) > 2400);
    assert.ok((allowed[2]?.atMs ?? 0) - (allowed[0]?.atMs ?? 0) < 2500);
  });

  test("whose run fails is not retried, and runs again at its next time", async () => {
    const name = await deploy(cron("* * * * * *", { body: { fail: true } }));
    const runs = await waitForRuns(name, 3);
    assert.equal(new Set(runs.map(plannedMs)).size, runs.length);
    await waitFor(
      "the failures to be counted",
      async () => (await platform.get(`/functions/${name}/metrics`)).json.errors.FUNCTION_ERROR >= 3,
    );
  });

  test("beside others of the same function has its own runs", async () => {
    const name = await deploy(cron("* * * * * *", { body: "all" }), cron("*/2 * * * * *", { body: "even" }));
    const runs = await waitForRuns(name, 5);
    const even = runs.filter(({ body }) => body === "even");
    assert.ok(even.length >= 1);
    for (const run of even) assert.equal((plannedMs(run) / 1000) % 2, 0);
    assert.equal(new Set(runs.map(({ trigger }) => `${trigger.schedule} ${trigger.plannedAt}`)).size, runs.length);
  });

  test("goes on through an update that leaves it alone, each planned time once", async () => {
    const name = await deploy(cron("* * * * * *"));
    const before = await waitForRuns(name, 1);
    await platform.put(name, { code: RECORDING, maxReplicas: 2, triggers: [cron("* * * * * *")] });
    const after = await waitForRuns(name, before.length + 2);
    const planned = after.map(plannedMs);
    assert.equal(new Set(planned).size, planned.length);
    assert.deepEqual(
      planned.slice(1).filter((ms, i) => ms - (planned[i] ?? 0) > 2000),
      [],
    );
  });

  test("ends with an update that takes it away", async () => {
    const name = await deploy(cron("* * * * * *"));
    await waitForRuns(name, 1);
    await platform.put(name, { code: RECORDING, maxReplicas: 1 });
    await platform.settled(name);
    const { length } = await runsOf(name);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.ok((await runsOf(name)).length <= length + 1);
  });

  test("of a time that is far away does not run now", async () => {
    const name = await deploy(cron("0 0 29 2 *"), cron("@yearly"));
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual(await runsOf(name), []);
  });

  test("makes its function callable by nobody else", async () => {
    const name = await deploy(cron("0 0 1 1 *"));
    assert.equal((await platform.send({ path: "/cron" })).status, 404);
    assert.deepEqual(await runsOf(name), []);
  });
});

describe("GET /functions/{name}/cron", { concurrency: true }, () => {
  test("says when triggers run next, and in which zone", async () => {
    const name = await deploy(cron("0 12 * * *", { timezone: "Europe/Kyiv" }), cron("@hourly"));
    const { triggers, runs } = await cronOf(name);
    assert.deepEqual(
      triggers.map(({ schedule, timezone }) => [schedule, timezone]),
      [
        ["0 12 * * *", "Europe/Kyiv"],
        ["@hourly", "UTC"],
      ],
    );
    for (const { nextPlannedAt } of triggers) assert.ok(Date.parse(nextPlannedAt ?? "") > Date.now(), nextPlannedAt ?? "none");
    assert.deepEqual(runs, []);
  });

  test("shows what became of each planned time, newest first and as many as asked for", async () => {
    const schedule = "* * * * * *";
    const [good, bad, slow] = await Promise.all([
      deploy(cron(schedule)),
      deploy(cron(schedule, { body: { fail: true } })),
      deploy(cron(schedule, { body: { ms: 2500 }, overlap: "skip" })),
    ]);
    const waitForStates = (name: string, ...states: string[]) =>
      waitFor(`a run of ${name} to be ${states.join(" and one ")}`, async () => {
        const { runs } = await cronOf(name);
        return states.every((state) => runs.some((run) => run.state === state)) ? runs : undefined;
      });
    const [runs, failedRuns] = await Promise.all([
      waitForStates(good, "succeeded"),
      waitForStates(bad, "failed"),
      waitForStates(slow, "running", "skipped"),
    ]);
    assert.deepEqual([runs[0]?.schedule, runs[0]?.timezone], [schedule, "UTC"]);
    const failed = failedRuns.find(({ state }) => state === "failed");
    assert.deepEqual([failed?.code, failed?.error], ["FUNCTION_ERROR", "Internal server error: not today"]);
    const calls = await runsOf(bad);
    assert.equal(calls.find(({ trigger }) => trigger.plannedAt === failed?.plannedAt)?.requestId, failed?.requestId);
    await waitForRuns(good, 3);
    const { runs: two } = await cronOf(good, "?limit=2");
    assert.equal(two.length, 2);
    assert.equal(Date.parse(two[0]?.plannedAt ?? "") - Date.parse(two[1]?.plannedAt ?? ""), 1000);
  });
});
