import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { describe, type TestContext, test } from "node:test";
import { createDataFolder, projectFolder, startServer, type TestServer, waitFor } from "../../support/server.ts";
import { Client } from "./support/client.ts";
import { describeDead, findLeftovers } from "./support/leftovers.ts";

const FLAGS = ["--pool-size", "0", "--pool", "nodejs18=1"];
/** Answers after so many milliseconds. */
const SLEEPER = "exports.handler = ({ body }) => new Promise((resolve) => setTimeout(resolve, body.ms, { slept: body.ms }));";

async function open(t: TestContext, flags: readonly string[] = [], dataFolder = createDataFolder()) {
  const server = await startServer({ dataFolder, flags: [...FLAGS, ...flags] });
  t.after(async () => {
    if (server.child.exitCode === null && server.child.signalCode === null) await server.kill();
    rmSync(dataFolder, { recursive: true, force: true });
  });
  return { server, client: new Client(server), dataFolder };
}

async function waitForCalls(client: Client, name: string, expected: { inFlight: number; queued?: number }): Promise<void> {
  await waitFor(`${name} to have ${JSON.stringify(expected)}`, async () => {
    const { json } = await client.get(`/functions/${name}/scaling`);
    return json.inFlight === expected.inFlight && json.queued === (expected.queued ?? 0);
  });
}

interface Reply {
  status: number;
  connection: string | undefined;
  json: any;
}

/** A request on a connection of the test's own choice; `path` is what follows `/api/v1`. */
function send(server: TestServer, agent: Agent, method: string, path: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(`${server.api}${path}`, { method, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, connection: response.headers.connection, json: JSON.parse(text) }));
    });
    sent.on("error", reject).end();
  });
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}

/** Reads a stream of events; resolves with how it ended. */
async function follow(server: TestServer, name: string): Promise<{ ended: Promise<"cleanly" | "cut"> }> {
  const response = await fetch(`${server.api}/functions/${name}/logs?follow=true`);
  assert.equal(response.status, 200);
  const ended = response.text().then(
    () => "cleanly" as const,
    () => "cut" as const,
  );
  return { ended };
}

describe("draining", () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    test(`${signal}: nobody new is let in, who is in gets the answer, and nothing is left`, async (t) => {
      const { server, client, dataFolder } = await open(t);
      await client.deploy({ name: "sleeper", code: SLEEPER });
      const kept = new Agent({ keepAlive: true, maxSockets: 1 });
      t.after(() => kept.destroy());
      assert.equal((await send(server, kept, "POST", "/functions/nobody/invoke")).status, 404);
      const following = await follow(server, "sleeper");
      const answered = client.invoke("sleeper", { ms: 1_000 });
      await waitForCalls(client, "sleeper", { inFlight: 1 });
      server.child.kill(signal);
      await waitFor("the listener to close", async () => !(await isListening(server.port)));
      const late = await send(server, kept, "POST", "/functions/sleeper/invoke");
      assert.deepEqual([late.status, late.json.code, late.connection], [503, "DRAINING", "close"]);
      assert.equal(await following.ended, "cleanly");
      const { status, json } = await answered;
      assert.deepEqual([status, json.body], [200, { slept: 1_000 }]);
      assert.deepEqual(await server.exited, { code: 0, signal: null });
      assert.deepEqual(findLeftovers(describeDead(server.child.pid!, dataFolder)), []);
    });
  }

  test("says at once what it waits for and how to leave, and says when it has stopped", async (t) => {
    const { server, client } = await open(t, ["--shutdown-timeout", "20s"]);
    await client.deploy({ name: "sleeper", code: SLEEPER });
    const answered = client.invoke("sleeper", { ms: 1_000 });
    await waitForCalls(client, "sleeper", { inFlight: 1 });
    const sinceMs = Date.now();
    server.child.kill("SIGINT");
    const draining = await waitFor("the word that it drains", () => server.log.find(({ msg }) => msg.startsWith("draining")));
    assert.equal(server.child.exitCode, null);
    assert.match(draining.msg, /waiting for 1 call, 20 s at the most \(--shutdown-timeout\); a second signal .* leaves at once/);
    assert.equal(draining["calls"], 1);
    const waitsMs = Date.parse(String(draining["until"])) - sinceMs;
    assert.ok(waitsMs >= 20_000 && waitsMs < 40_000, `until ${String(draining["until"])}`);
    assert.equal((await answered).status, 200);
    assert.equal((await server.exited).code, 0);
    const last = await waitFor("the word that it has stopped", () => server.log.find(({ msg }) => msg === "stopped"));
    assert.equal(last["cutCalls"], 0);
    assert.equal(server.log.at(-1), last);
  });

  test("says so where it waits for nothing", async (t) => {
    const { server } = await open(t);
    await server.stop();
    const words = await waitFor("its last words", () => {
      const messages = server.log.map(({ msg }) => msg);
      return messages.includes("stopped") && messages;
    });
    assert.deepEqual(words.slice(-2), ["stopping: no calls to wait for", "stopped"]);
  });

  test("/ready says draining, and control routes refuse", async (t) => {
    const { server, client } = await open(t);
    await client.deploy({ name: "sleeper", code: SLEEPER });
    const agents = [new Agent({ keepAlive: true }), new Agent({ keepAlive: true })];
    t.after(() => agents.forEach((agent) => agent.destroy()));
    for (const agent of agents) await send(server, agent, "POST", "/functions/nobody/invoke");
    const answered = client.invoke("sleeper", { ms: 1_000 });
    await waitForCalls(client, "sleeper", { inFlight: 1 });
    server.child.kill("SIGTERM");
    await waitFor("the listener to close", async () => !(await isListening(server.port)));
    const ready = await send(server, agents[0]!, "GET", "/ready");
    assert.deepEqual([ready.status, ready.json.status, ready.json.code], [503, "draining", "DRAINING"]);
    const created = await send(server, agents[1]!, "POST", "/functions");
    assert.deepEqual([created.status, created.json.code], [503, "DRAINING"]);
    assert.equal((await answered).status, 200);
    assert.equal((await server.exited).code, 0);
  });

  test("at the end of --shutdown-timeout what runs and what waits is told so, and messages go back uncounted", async (t) => {
    const { server, client, dataFolder } = await open(t, ["--shutdown-timeout", "500ms"]);
    await client.deploy({ name: "sleeper", code: SLEEPER, maxReplicas: 1, concurrency: 1 });
    const code = `exports.handler = async ({ trigger: { attempt, redelivered } }) => {
      console.log(JSON.stringify({ attempt, redelivered }));
      if (!redelivered) await new Promise((resolve) => setTimeout(resolve, 60_000));
    };`;
    await client.deploy({ name: "consumer", code, triggers: [{ type: "queue", config: { queue: "slow", exchange: "jobs" } }] });
    assert.equal((await client.publish("slow", {})).status, 202);
    const running = client.invoke("sleeper", { ms: 60_000 });
    await waitForCalls(client, "sleeper", { inFlight: 1 });
    const queued = client.invoke("sleeper", { ms: 60_000 });
    await waitForCalls(client, "sleeper", { inFlight: 1, queued: 1 });
    await waitFor("the message to be in flight", async () => (await client.queue("slow")).unacked === 1);
    await waitFor("the consumer to begin", async () => (await client.get("/functions/consumer/logs")).json.length === 1);

    const sinceMs = performance.now();
    server.child.kill("SIGTERM");
    for (const [answer, phase] of [
      [await running, "running"],
      [await queued, "queued"],
    ] as const) {
      assert.deepEqual([answer.status, answer.json.code, answer.json.details.phase], [503, "DRAINING", phase]);
    }
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    const tookMs = performance.now() - sinceMs;
    assert.ok(tookMs >= 500 && tookMs < 5_000, `draining took ${tookMs} ms`);
    const cut = await waitFor("the word that calls were cut", () =>
      server.log.find(({ msg }) => msg.startsWith("--shutdown-timeout is over")),
    );
    assert.equal(cut.level, 40);

    const next = await open(t, [], dataFolder);
    await waitFor("the message to be done", async () => {
      const { ready, unacked } = await next.client.queue("slow");
      return ready + unacked === 0;
    });
    const { json: log } = await next.client.get("/functions/consumer/logs");
    assert.deepEqual(
      log.map(({ message }: { message: string }) => JSON.parse(message)),
      [
        { attempt: 1, redelivered: false },
        { attempt: 1, redelivered: true },
      ],
    );
    assert.equal((await next.server.stop()).code, 0);
  });

  test("a signal sent twice at once drains; one more than a second later leaves at once", async (t) => {
    const { server, client } = await open(t);
    await client.deploy({ name: "sleeper", code: SLEEPER });
    const answered = client.invoke("sleeper", { ms: 60_000 }).catch(() => "cut");
    await waitForCalls(client, "sleeper", { inFlight: 1 });
    const sinceMs = performance.now();
    server.child.kill("SIGINT");
    server.child.kill("SIGINT");
    await waitFor("the listener to close", async () => !(await isListening(server.port)));
    await waitFor("a second to pass", () => performance.now() - sinceMs > 1_200);
    assert.equal(server.child.exitCode, null);
    server.child.kill("SIGINT");
    assert.equal((await server.exited).code, 1);
    assert.equal(await answered, "cut");
    await waitFor("the word that it left", () => server.log.some(({ msg }) => msg.startsWith("left at once")));
  });
});

describe("npm start", () => {
  for (const [how, signalIt] of [
    ["SIGTERM to npm", (pid: number) => process.kill(pid, "SIGTERM")],
    ["Ctrl-C in its terminal", (pid: number) => process.kill(-pid, "SIGINT")],
  ] as const) {
    test(`${how} drains the server`, async (t) => {
      const { child, url, ended } = await npmStart(t);
      const client = new Client({ api: `${url}/api/v1` });
      const { json: ready } = await client.get("/ready");
      assert.equal(ready.status, "ready");
      await client.deploy({ name: "sleeper", code: SLEEPER });
      const answered = client.invoke("sleeper", { ms: 1_000 });
      await waitForCalls(client, "sleeper", { inFlight: 1 });
      signalIt(child.pid!);
      assert.equal((await answered).status, 200);
      assert.equal(await ended, 0);
      assert.equal(await isListening(Number(new URL(url).port)), false);
    });
  }
});

async function npmStart(t: TestContext) {
  const folder = createDataFolder();
  const { npm_config_user_agent: _agent, NODE_TEST_CONTEXT: _context, ...environment } = process.env;
  const child = spawn("npm", ["start", "--", "--port", "0", "--data-dir", folder, "--log-format", "json", ...FLAGS], {
    cwd: projectFolder,
    env: environment,
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit").then(([code]) => code as number | null);
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, "SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.includes('"msg":"listening"')) continue;
    child.stdout.resume();
    return { child, ended, url: JSON.parse(line).addresses[0] as string };
  }
  throw new Error("npm start ended before the server listened");
}
