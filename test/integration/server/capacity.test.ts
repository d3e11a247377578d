import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { GOS } from "../runtimes/gos.ts";
import { whyNot } from "../sandbox/support.ts";
import { startServer, waitFor } from "../../support/server.ts";
import { seededRandom } from "../store/random.ts";
import { type Answer, Client } from "./support/client.ts";

const SLEEPER = "exports.handler = ({ body }) => new Promise((resolve) => setTimeout(resolve, body.ms ?? 0, 1));";

async function open(t: TestContext, flags: readonly string[]) {
  const server = await startServer({ flags });
  t.after(async () => {
    const { code } = await server.stop();
    assert.equal(code, 0);
  });
  return { server, client: new Client(server) };
}

async function readCapacity(client: Client): Promise<{ replicas: number; maxReplicas: number }> {
  return (await client.get("/ready")).json.capacity;
}

async function waitForCalls(client: Client, name: string, inFlight: number): Promise<void> {
  await waitFor(
    `${name} to have ${inFlight} calls`,
    async () => (await client.get(`/functions/${name}/scaling`)).json.inFlight === inFlight,
  );
}

function versioned(name: string, version: number): { name: string; code: string } {
  return { name, code: `exports.handler = async ({ body }) => (await new Promise((resolve) => setTimeout(resolve, 5)), ${version});` };
}

/** Calls all the time until `stop`; every answer that is not a 200 is kept, and every version older than what ran when the call began. */
function callSteadily(client: Client, name: string, callers: number) {
  const failures: string[] = [];
  let calls = 0;
  let running = 0;
  const stopping = new AbortController();
  const caller = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const atLeast = running;
      const { status, json, text } = await client.invoke(name);
      calls++;
      if (status !== 200) failures.push(`${status} ${text}`.slice(0, 200));
      else if (json.body < atLeast) failures.push(`version ${json.body} answered when ${atLeast} ran already`);
    }
  };
  const ended = Promise.all(Array.from({ length: callers }, caller));
  return {
    failures: () => failures.slice(0, 5),
    /** From now on no older version may answer. */
    noteRunning: (version: number) => void (running = version),
    stop: async (): Promise<number> => {
      stopping.abort();
      await ended;
      return calls;
    },
  };
}

describe("at the machine's cap", () => {
  test("waiting and idle replicas make room first, and the cap holds", async (t) => {
    const { client } = await open(t, ["--max-replicas", "2", "--pool-size", "0", "--pool", "nodejs18=2"]);
    const names = ["ash", "birch", "cedar"];
    for (const name of names) await client.deploy({ name, code: SLEEPER });
    for (let round = 0; round < 2; round++) {
      for (const name of names) {
        const { status, text } = await client.invoke(name);
        assert.equal(status, 200, text);
        const { replicas } = await readCapacity(client);
        assert.ok(replicas <= 2, `${replicas} replicas`);
      }
    }
  });

  test("when all are busy a call is told so at once, and the next one gets a place when a call has ended", async (t) => {
    const { client } = await open(t, ["--max-replicas", "2", "--pool-size", "0"]);
    for (const name of ["ash", "birch", "cedar"]) await client.deploy({ name, code: SLEEPER });
    const busy = ["ash", "birch"].map((name) => client.invoke(name, { ms: 1_500 }));
    await Promise.all(["ash", "birch"].map((name) => waitForCalls(client, name, 1)));
    const refused = await client.invoke("cedar");
    assert.deepEqual([refused.status, refused.json.code], [503, "NO_CAPACITY"]);
    assert.match(refused.json.error, /2 of 2 replicas .* Raise --max-replicas, or try again/);
    assert.equal(refused.headers.get("retry-after"), "1");
    for (const answer of await Promise.all(busy)) assert.equal(answer.status, 200);
    assert.equal((await client.invoke("cedar")).status, 200);
  });

  test("an update replaces replicas one by one, without failing a call", async (t) => {
    const { client } = await open(t, ["--max-replicas", "2", "--pool-size", "0"]);
    await client.deploy({ ...versioned("full", 1), minReplicas: 2, maxReplicas: 2 });
    await waitFor("both replicas", async () => (await client.get("/functions/full")).json.status.readyReplicas === 2);
    const load = callSteadily(client, "full", 2);
    await client.update({ ...versioned("full", 2), minReplicas: 2, maxReplicas: 2 });
    load.noteRunning(2);
    await waitFor("both new replicas", async () => {
      const { readyReplicas, revision } = (await client.get("/functions/full")).json.status;
      return readyReplicas === 2 && revision === 2;
    });
    await load.stop();
    assert.deepEqual(load.failures(), []);
    assert.equal((await readCapacity(client)).replicas, 2);
  });

  test("with room for one replica alone an update still comes through, and a bad one leaves the old version serving", async (t) => {
    const { client } = await open(t, ["--max-replicas", "1", "--pool-size", "0"]);
    await client.deploy(versioned("lone", 1));
    const load = callSteadily(client, "lone", 2);
    await client.update(versioned("lone", 2));
    load.noteRunning(2);
    assert.equal((await client.put({ name: "lone", code: "exports.handler = (;" })).status, 200);
    assert.equal((await client.settled("lone")).state, "failed");
    assert.equal((await client.invoke("lone")).json.body, 2);
    await load.stop();
    assert.deepEqual(load.failures(), []);
  });
});

describe("a function that takes what it can get", { skip: whyNot("bwrap", "python3") }, () => {
  test("by memory or by processes: it alone is harmed", async (t) => {
    const { client } = await open(t, ["--pool-size", "0", "--pool", "nodejs18=1"]);
    await client.deploy({ name: "calm", code: SLEEPER });
    await client.deploy({
      name: "hog",
      memory: 64,
      code: "exports.handler = () => { const kept = []; for (;;) kept.push(Buffer.alloc(8_000_000, 1)); };",
    });
    const bomb =
      "import os, time\ndef handler(event):\n  while True:\n    try:\n      if os.fork() == 0: time.sleep(60)\n    except OSError: time.sleep(0.01)\n";
    await client.deploy({ name: "bomb", runtime: "python39", code: bomb, timeout: 2 });
    const harmed = Promise.all([client.invoke("hog"), client.invoke("bomb")]);
    const over = new AbortController();
    void harmed.then(() => over.abort());
    const calm: Answer[] = [];
    while (!over.signal.aborted || calm.length < 20) calm.push(await client.invoke("calm"));
    assert.deepEqual(
      calm.filter(({ status }) => status !== 200).map(({ text }) => text),
      [],
    );
    const [hog, exploded] = await harmed;
    assert.deepEqual([hog.status, hog.json.code], [502, "FUNCTION_OUT_OF_MEMORY"], hog.text);
    assert.equal(hog.json.details.limitMiB, 64);
    assert.deepEqual([exploded.status, exploded.json.code], [504, "TIMEOUT"], exploded.text);
  });
});

const BOMBS: Record<string, { runtime: string; code: string }> = {
  "processes in Node.js": {
    runtime: "nodejs18",
    code: `const { spawn } = require("node:child_process");
exports.handler = async () => { for (;;) { spawn("/bin/sleep", ["60"]).on("error", () => {}); await new Promise(setImmediate); } };`,
  },
  "threads in Node.js": {
    runtime: "nodejs18",
    code: `const { Worker } = require("node:worker_threads");
exports.handler = async () => {
  for (;;) { new Worker("setInterval(() => {}, 1000)", { eval: true }).on("error", () => {}); await new Promise(setImmediate); }
};`,
  },
  "processes in Go": {
    runtime: "go119",
    code: `package f

import "os/exec"

func Handler(e map[string]any) (any, error) {
	for {
		exec.Command("/bin/sleep", "60").Start()
	}
}
`,
  },
  "threads in Go": {
    runtime: "go119",
    code: `package f

import (
	"runtime"
	"time"
)

func Handler(e map[string]any) (any, error) {
	for {
		go func() {
			runtime.LockOSThread()
			select {}
		}()
		time.Sleep(50 * time.Microsecond)
	}
}
`,
  },
};

describe("a bomb", { skip: whyNot("bwrap") || (GOS[0]?.missing ?? false) }, () => {
  test("of processes or threads, in Node.js and in Go, harms itself alone", { timeout: 240_000 }, async (t) => {
    const { client } = await open(t, ["--pool-size", "0", "--pool", "nodejs18=1"]);
    await client.deploy({ name: "calm", code: "exports.handler = async () => 'calm';", minReplicas: 1 });
    for (const [what, { runtime, code }] of Object.entries(BOMBS)) {
      const name = `bomb-of-${what.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
      await client.deploy({ name, runtime, code, timeout: 2, maxReplicas: 1 });
      const exploding = client.invoke(name);
      const over = new AbortController();
      void exploding.then(() => over.abort());
      while (!over.signal.aborted) {
        const { status, json, text } = await client.invoke("calm");
        assert.deepEqual([status, json?.body], [200, "calm"], `beside ${what}: ${text}`);
      }
      const { json, text } = await exploding;
      assert.ok(["TIMEOUT", "FUNCTION_CRASHED", "FUNCTION_OUT_OF_MEMORY"].includes(json?.code), `${what}: ${text}`);
      assert.equal((await client.delete(name)).status, 204);
    }
  });
});

describe("without a failed call", () => {
  test("ten updates under load, bad ones among them, and a change of limits", async (t) => {
    const { client } = await open(t, ["--pool-size", "0", "--pool", "nodejs18=2"]);
    await client.deploy(versioned("busy", 0));
    const load = callSteadily(client, "busy", 4);
    for (let version = 1; version <= 10; version++) {
      if (version % 4 === 0) {
        await client.put({ name: "busy", code: "module.exports = { handler: 1 };" });
        assert.equal((await client.settled("busy")).state, "failed");
      }
      await client.update({ ...versioned("busy", version), maxReplicas: 1 + (version % 3) });
      load.noteRunning(version);
    }
    const calls = await load.stop();
    assert.deepEqual(load.failures(), []);
    t.diagnostic(`${calls} calls`);
    const { json: metrics } = await client.get("/functions/busy/metrics");
    assert.deepEqual([metrics.invocations, metrics.errors], [calls, {}]);
  });

  test("scaled to zero again and again under sporadic calls", async (t) => {
    const { client } = await open(t, ["--pool-size", "0", "--pool", "nodejs18=2", "--idle-timeout", "1s"]);
    const names = ["ash", "birch", "cedar"];
    for (const name of names) await client.deploy({ name, code: SLEEPER });
    const random = seededRandom(1);
    const endMs = performance.now() + 9_000;
    const answers = await Promise.all(
      names.map(async (name) => {
        const got: Answer[] = [];
        // Around the idle time-out and the scaler's beat: just before, at and after a replica goes.
        for (; performance.now() < endMs; await pause(900 + random() * 1_200)) got.push(await client.invoke(name));
        return got;
      }),
    );
    const all = answers.flat();
    assert.deepEqual(
      all.filter(({ status }) => status !== 200).map(({ text }) => text),
      [],
    );
    const cold = all.filter(({ headers }) => headers.get("x-cold-start") === "true").length;
    t.diagnostic(`${all.length} calls, ${cold} of them cold`);
    assert.ok(cold > names.length, "no replica went");
    for (const name of names) {
      await waitFor(`${name} to be at zero`, async () => (await client.get(`/functions/${name}`)).json.status.replicas === 0);
    }
  });
});
