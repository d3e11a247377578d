import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { createDataFolder } from "../../support/server.ts";
import { ECHO, SecuredServer } from "./support/secured.ts";

/** A call costs a dime, however long it takes. */
const FLAGS = ["--cost-per-gb-second", "0", "--cost-per-invocation", "0.1"];

test("that 80 % and that all of a day's budget is spent is told once each, over restarts and a kill", async () => {
  await using started = new AsyncDisposableStack();
  const dataFolder = createDataFolder();
  started.defer(() => rmSync(dataFolder, { recursive: true, force: true }));
  const start = async () => started.use(await SecuredServer.start({ dataFolder, flags: FLAGS }));
  const told: string[] = [];
  const collect = ({ server }: SecuredServer): void => {
    for (const { msg, function: name, spentUsd } of server.log)
      if (name === "dear" && /budget/.test(msg)) told.push(`${msg}: ${Number(spentUsd).toFixed(1)}`);
  };
  const nearly = "80 % of the day's budget is spent: 0.8";
  const call = async (secured: SecuredServer, times: number): Promise<number[]> => {
    const statuses: number[] = [];
    for (let count = 0; count < times; count++) statuses.push((await secured.admin("GET", "/fn/dear")).status);
    return statuses;
  };

  const first = await start();
  await first.deploy("dear", ECHO, { budget: { perDay: 1 } });
  await call(first, 7);
  assert.equal((await first.server.stop()).code, 0);
  collect(first);
  assert.deepEqual(told, []);

  const second = await start();
  await call(second, 1);
  // What was told is on its way to the disk, and this goes behind it.
  await second.createKey({ role: "viewer" });
  await second.server.kill();
  collect(second);
  assert.deepEqual(told, [nearly]);

  // The kill may have cost the counters the last call: that it comes again is no news.
  const third = await start();
  await call(third, 1);
  assert.equal((await third.server.stop()).code, 0);
  collect(third);
  assert.deepEqual(told, [nearly]);

  const fourth = await start();
  const statuses = await call(fourth, 4);
  assert.equal(statuses.at(-1), 429);
  assert.equal((await fourth.server.stop()).code, 0);
  collect(fourth);
  const all = [nearly, "the day's budget is spent: calls are refused: 1.0"];
  assert.deepEqual(told, all);

  const fifth = await start();
  assert.deepEqual(await call(fifth, 2), [429, 429]);
  assert.equal((await fifth.server.stop()).code, 0);
  collect(fifth);
  assert.deepEqual(told, all);
});

test("a streamed answer tells what is left of the limits before its first piece, an invocation likewise", async () => {
  await using secured = await SecuredServer.start({ flags: ["--caller-rate-limit", "100:50"] });
  const streams = `exports.handler = async () => ({ statusCode: 200, headers: { "content-type": "text/plain" },
    body: require("node:stream").Readable.from((async function* () { yield "first,"; await new Promise((go) => setTimeout(go, 50)); yield "last"; })()) });`;
  await secured.deploy("streamer", streams, { rateLimit: { requestsPerSecond: 0.01, burst: 3 } });
  const answers = [await secured.admin("GET", "/fn/streamer"), await secured.admin("POST", "/api/v1/functions/streamer/invoke", {})];
  assert.equal(answers[0]!.body, "first,last");
  assert.equal(answers[1]!.body.body, "first,last");
  for (const [index, { status, headers }] of answers.entries()) {
    assert.equal(status, 200);
    assert.equal(headers.get("ratelimit-policy"), '"function";q=3;w=300, "caller";q=50;w=1');
    assert.match(headers.get("ratelimit") ?? "", new RegExp(`^"function";r=${2 - index};t=\\d+, "caller";r=\\d+(;t=\\d+)?$`));
  }
});
