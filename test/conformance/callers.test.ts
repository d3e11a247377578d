import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform, uniqueName } from "./support/platform.ts";
import { RUNTIMES } from "./support/vectors.ts";

const platform = await openPlatform();

/** What the platform makes up is a sane id by its own rule. */
const NEW_ID = /^[A-Za-z0-9._:/+=-]{8,128}$/;

interface Scaling {
  inFlight: number;
  queued: number;
  replicas: number;
}

async function scaling(name: string): Promise<Scaling> {
  return (await platform.get(`/functions/${name}/scaling`)).json as Scaling;
}

function waitForLoad(name: string, inFlight: number, queued: number): Promise<true> {
  return waitFor(`${name} to have ${inFlight} calls and ${queued} waiting`, async () => {
    const now = await scaling(name);
    return now.inFlight === inFlight && now.queued === queued;
  });
}

/** Begins a call that its caller may leave. */
function beginCall(name: string, query: string): { leave(): void } {
  const request = platform.client.begin({ path: `/fn/${name}?${query}` });
  request.end();
  return { leave: () => request.destroy() };
}

describe("a caller that goes away", { concurrency: 4 }, () => {
  const CODE = `let runs = 0, aborted = 0; exports.handler = async ({ query }, context) => {
    if (query.ms === undefined) return { runs, aborted };
    runs++;
    context.signal.addEventListener('abort', () => aborted++);
    await new Promise((resolve) => setTimeout(resolve, Number(query.ms)));
    return 'done';
  };`;

  test("while queued is removed, and its call never runs", async () => {
    const name = await platform.deploy({ code: CODE, concurrency: 1, maxReplicas: 1 });
    const first = platform.call(name, "?ms=1500");
    await waitForLoad(name, 1, 0);
    const second = beginCall(name, "ms=1");
    await waitForLoad(name, 1, 1);
    second.leave();
    await waitForLoad(name, 1, 0);
    assert.equal((await first).text, "done");
    assert.deepEqual((await platform.call(name)).json, { runs: 1, aborted: 0 });
    await assertClientClosed(name, 1);
  });

  test("in mid-call aborts the signal; the handler goes on and holds its place until it ends", async () => {
    const name = await platform.deploy({ code: CODE, concurrency: 2, maxReplicas: 1 });
    await platform.call(name);
    const call = beginCall(name, "ms=1500");
    await waitForLoad(name, 1, 0);
    call.leave();
    await waitFor("the signal", async () => (await platform.call(name)).json.aborted === 1);
    assert.equal((await scaling(name)).inFlight, 1);
    await waitForLoad(name, 0, 0);
    assert.deepEqual((await platform.call(name)).json, { runs: 1, aborted: 1 });
    await assertClientClosed(name, 1);
  });

  test("in mid-call cancels the context of a Go function", async () => {
    const code = `package f

import (
	"context"
	"sync/atomic"
)

var cancelled int32

func Handler(ctx context.Context, e map[string]any) (any, error) {
	if e["query"].(map[string]any)["wait"] == nil {
		return atomic.LoadInt32(&cancelled), nil
	}
	<-ctx.Done()
	atomic.AddInt32(&cancelled, 1)
	return nil, ctx.Err()
}
`;
    const name = await platform.deploy({ runtime: "go119", code, maxReplicas: 1 });
    await platform.call(name);
    const call = beginCall(name, "wait");
    await waitForLoad(name, 1, 0);
    call.leave();
    await waitFor("the context to be cancelled", async () => (await platform.call(name)).json === 1);
    await assertClientClosed(name, 1);
  });

  test("a hundred at a time leaves nothing behind", async () => {
    const name = await platform.deploy({ code: CODE, concurrency: 10, maxReplicas: 2 });
    const calls = Array.from({ length: 100 }, () => beginCall(name, "ms=2000"));
    await waitFor("all to be there", async () => {
      const now = await scaling(name);
      return now.inFlight + now.queued >= 90;
    });
    for (const call of calls) call.leave();
    await waitForLoad(name, 0, 0);
    assert.equal((await platform.call(name)).status, 200);
    assert.ok((await scaling(name)).replicas <= 2);
  });

  async function assertClientClosed(name: string, count: number): Promise<void> {
    await waitFor("the caller's leaving to be counted", async () => {
      const { errors, errorRate } = (await platform.get(`/functions/${name}/metrics`)).json;
      return errors.CLIENT_CLOSED === count && errorRate === 0;
    });
  }
});

describe("X-Request-Id", { concurrency: 4 }, () => {
  test("is the caller's or a new one on every answer, and in the body of every error", async () => {
    const absent = uniqueName();
    const questions = [
      { path: "/health" },
      { path: "/api/v1/functions" },
      { path: `/api/v1/functions/${absent}` },
      { path: `/fn/${absent}` },
      { path: "/nothing-is-here" },
      { method: "PATCH", path: "/api/v1/functions" },
      { path: "/fn/%zz" },
      { path: "/docs" },
    ];
    for (const question of questions) {
      const given = await platform.send({ ...question, headers: { "x-request-id": "mine-1" } });
      const made = await platform.send(question);
      assert.equal(given.headers["x-request-id"], "mine-1", question.path);
      assert.match(String(made.headers["x-request-id"]), NEW_ID, question.path);
      if (given.status >= 400) assert.deepEqual([given.json.requestId, made.json.requestId], ["mine-1", made.headers["x-request-id"]]);
    }
  });
});

describe("a cold start", { concurrency: 3 }, () => {
  const CODES = {
    nodejs18: "exports.handler = () => 1;",
    python39: "def handler(event):\n    return 1\n",
    go119: "package f\n\nfunc Handler(e map[string]any) (any, error) { return 1, nil }\n",
  };
  for (const runtime of RUNTIMES) {
    test(`of ${runtime} is the first call alone, and shows where its time went`, async () => {
      const name = await platform.deploy({ runtime, code: CODES[runtime] });
      const first = await platform.invoke(name);
      assert.equal(first.headers["x-cold-start"], "true");
      assert.match(String(first.headers["server-timing"]), /queue;dur=[\d.]+/);
      assert.match(String(first.headers["server-timing"]), /load;dur=[\d.]+/);
      assert.match(String(first.headers["server-timing"]), /start;dur=[\d.]+/);
      const second = await platform.invoke(name);
      assert.equal(second.headers["x-cold-start"], "false");
      assert.doesNotMatch(String(second.headers["server-timing"]), /load;/);
      assert.match(String(second.headers["server-timing"]), /handler;dur=[\d.]+/);
    });
  }

  test("is none after an update of a function that had replicas", async () => {
    const name = await platform.deploy({ code: CODES.nodejs18 });
    await platform.invoke(name);
    await platform.put(name, { code: "exports.handler = () => 2;" });
    await platform.settled(name);
    const answer = await platform.invoke(name);
    assert.deepEqual([answer.json.body, answer.headers["x-cold-start"]], [2, "false"]);
  });
});
