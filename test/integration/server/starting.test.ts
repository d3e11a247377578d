import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fillStore } from "../../support/fill-store.ts";
import { freePort } from "../../support/process.ts";
import { createDataFolder, projectFolder, waitFor } from "../../support/server.ts";

const FUNCTIONS = 3000;
/** Whether a question meets the time of loading is chance. */
const MAX_STARTS = 10;

interface Seen {
  path: string;
  status: number;
  retryAfter: string | null;
  body: any;
}

async function ask(port: number, path: string): Promise<Seen | undefined> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
  if (response === undefined) return undefined;
  return { path, status: response.status, retryAfter: response.headers.get("retry-after"), body: await response.json() };
}

/** Starts a server, asks it all the time until it is ready, and ends it. */
async function watchStart(t: TestContext, dataFolder: string): Promise<Seen[]> {
  const port = await freePort();
  const main = join(projectFolder, "packages/server/src/main.ts");
  const flags = ["--port", String(port), "--data-dir", dataFolder, "--pool-size", "0", "--log-format", "json"];
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...flags], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const seen: Seen[] = [];
  const isReady = async (): Promise<boolean> => {
    const answers = await Promise.all(["/ready", "/health", "/api/v1/functions?limit=1"].map((path) => ask(port, path)));
    seen.push(...answers.filter((answer) => answer !== undefined));
    return answers[0]?.status === 200;
  };
  const watching = setInterval(() => void isReady(), 5);
  await waitFor("the server to be ready", isReady, 30_000).finally(() => clearInterval(watching));
  child.kill("SIGTERM");
  await once(child, "exit");
  return seen;
}

test("while it starts, /ready answers 503 and why, /health answers, and nothing is said of functions that are not loaded", async (t) => {
  const dataFolder = createDataFolder();
  t.after(() => rmSync(dataFolder, { recursive: true, force: true }));
  await fillStore(dataFolder, { functions: FUNCTIONS });
  const seen: Seen[] = [];
  const find = (path: string, status: number) => seen.find((answer) => answer.path.startsWith(path) && answer.status === status);
  for (let start = 0; start < MAX_STARTS && (!find("/ready", 503) || !find("/api/v1/functions", 503)); start++) {
    seen.push(...(await watchStart(t, dataFolder)));
  }
  const starting = find("/ready", 503);
  assert.ok(starting, "no question came while the server was loading");
  const { status, error, code, requestId, sandbox } = starting.body;
  assert.deepEqual([status, error, code, starting.retryAfter], ["starting", "The server is starting", "NO_CAPACITY", "1"]);
  assert.ok(requestId && sandbox.driver);
  const refused = find("/api/v1/functions", 503);
  assert.deepEqual([refused?.body.error, refused?.body.code], ["The server is starting", "NO_CAPACITY"]);
  for (const { path, status: answered } of seen) if (path === "/health") assert.equal(answered, 200);
  for (const { path, status: answered, body } of seen) {
    if (path.startsWith("/api") && answered === 200) assert.equal(body.length, 1, "an empty list before the functions are loaded");
  }
});
