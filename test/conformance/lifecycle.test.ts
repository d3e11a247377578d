import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { waitFor } from "../support/server.ts";
import { openPlatform, uniqueName, uniquePath } from "./support/platform.ts";

const platform = await openPlatform();

/** Answers with its own number, so that a test sees which version served. */
function version(number: number): { code: string } {
  return { code: `exports.handler = () => ${number};` };
}

const BROKEN = { code: "exports.handler = (=> 1;" };
const SLOW = { code: "exports.handler = (event) => new Promise((resolve) => setTimeout(() => resolve('slow'), event.body.ms ?? 1000));" };

async function serves(name: string, wanted: unknown): Promise<void> {
  await waitFor(`${name} to serve ${String(wanted)}`, async () => (await platform.invoke(name)).json.body === wanted);
}

/** One call, in a replica that has loaded its code: one that is loaded for it may still be given up for another. */
function untilItRuns(name: string): Promise<unknown> {
  return waitFor("the call to run", async () => {
    const [scaling, shown] = await Promise.all([platform.get(`/functions/${name}/scaling`), platform.get(`/functions/${name}`)]);
    return scaling.json.inFlight === 1 && shown.json.status.readyReplicas === 1;
  });
}

describe("creating", { concurrency: 4 }, () => {
  test("answers 201 at once with the four documented fields, Location and ETag", async () => {
    const { name, status, json, headers } = await platform.create(version(1));
    assert.equal(status, 201);
    assert.equal(headers.location, `/api/v1/functions/${name}`);
    assert.deepEqual(
      { name: json.name, runtime: json.runtime, handler: json.handler, status: json.status },
      { name, runtime: "nodejs18", handler: "index.handler", status: { state: "deploying" } },
    );
    assert.deepEqual([json.generation, json.revision], [1, 1]);
    assert.equal(headers.etag, `"${json.uid}-1"`);
    assert.match(String(headers["content-type"]), /^application\/json/);
    assert.equal("code" in json, false);
  });

  test("makes a function that runs at zero replicas, and fills in the defaults", async () => {
    const name = await platform.deploy(version(1));
    const { json, headers } = await platform.get(`/functions/${name}`);
    const { environment, minReplicas, maxReplicas, triggers, timeout, memory, network, concurrency, status } = json;
    assert.deepEqual(
      { environment, minReplicas, maxReplicas, triggers, timeout, memory, network, concurrency },
      { environment: {}, minReplicas: 0, maxReplicas: 10, triggers: [], timeout: 30, memory: 256, network: "outbound", concurrency: 100 },
    );
    assert.equal(headers["cache-control"], "no-store");
    assert.deepEqual([status.state, status.replicas, status.revision, status.observedGeneration], ["running", 0, 1, 1]);
    assert.equal(status.endpoint, `${name}.kube-serverless.svc.cluster.local`);
    assert.match(status.runtimeVersion, /^\d+\.\d+/);
    assert.ok(Math.abs(Date.parse(status.lastDeployment) - Date.now()) < 120_000);
    assert.equal(status.lastInvocation, undefined);
  });

  test("gives Python one call at a time, and Go a hundred", async () => {
    const python = await platform.create({ runtime: "python39", code: "def handler(event): ...\n" });
    const go = await platform.create({ runtime: "go119", code: "package f\nfunc Handler(e any) (any, error) { return nil, nil }" });
    assert.equal((await platform.get(`/functions/${python.name}`)).json.concurrency, 1);
    assert.equal((await platform.get(`/functions/${go.name}`)).json.concurrency, 100);
  });

  test("refuses a name that is taken: 409, naming it", async () => {
    const { name } = await platform.create(version(1));
    const again = await platform.create({ ...version(2), name });
    assert.deepEqual([again.status, again.json.code], [409, "FUNCTION_EXISTS"]);
    assert.match(JSON.stringify(again.json), new RegExp(name));
    await platform.settled(name);
    await serves(name, 1);
  });

  test("lets calls wait that come while it deploys", async () => {
    const { name } = await platform.create({
      code: "const end = Date.now() + 300; while (Date.now() < end); exports.handler = () => 'waited';",
    });
    const answer = await platform.invoke(name);
    assert.deepEqual([answer.status, answer.json.body], [200, "waited"]);
  });

  test("takes back what GET gave, read-only fields and all", async () => {
    const name = await platform.deploy({ ...version(1), environment: { A: "é", EMPTY: "" } });
    const read = await platform.get(`/functions/${name}`);
    const put = await platform.control("PUT", `/functions/${name}`, read.json);
    assert.deepEqual([put.status, put.json.generation], [200, 1]);
    assert.deepEqual((await platform.get(`/functions/${name}`)).json.environment, { A: "é", EMPTY: "" });
  });

  test("shows when a function was called last", async () => {
    const name = await platform.deploy(version(1));
    await platform.invoke(name);
    const { status } = (await platform.get(`/functions/${name}`)).json;
    assert.ok(Math.abs(Date.parse(status.lastInvocation) - Date.now()) < 60_000);
  });
});

describe("updating", { concurrency: 4 }, () => {
  test("answers 200 in the shape of POST, goes back to deploying, and serves the new code", async () => {
    const name = await platform.deploy(version(1));
    const put = await platform.put(name, version(2));
    assert.equal(put.status, 200);
    assert.deepEqual([put.json.name, put.json.status, put.json.generation, put.json.revision], [name, { state: "deploying" }, 2, 2]);
    assert.equal(put.headers.etag, `"${put.json.uid}-2"`);
    const status = await platform.settled(name);
    assert.deepEqual([status.state, status.revision, status.observedGeneration], ["running", 2, 2]);
    const called = await platform.invoke(name);
    assert.deepEqual([called.json.body, called.headers["x-function-revision"]], [2, "2"]);
  });

  test("keeps serving the old version until the new one is ready", async () => {
    const name = await platform.deploy(version(1));
    await serves(name, 1);
    await platform.put(name, { code: "const end = Date.now() + 1000; while (Date.now() < end); exports.handler = () => 2;" });
    const during = await platform.get(`/functions/${name}`);
    const called = await platform.invoke(name);
    assert.deepEqual([during.json.status.state, during.json.revision, during.json.status.revision], ["deploying", 2, 1]);
    assert.equal(called.json.body, 1);
    await platform.settled(name);
    await serves(name, 2);
  });

  test("fails no call while versions follow each other", async () => {
    const name = await platform.deploy(version(0));
    const watch = { stop: false };
    const answers: number[] = [];
    const callers = Array.from({ length: 4 }, async () => {
      while (!watch.stop) answers.push((await platform.invoke(name)).status);
    });
    for (let number = 1; number <= 4; number++) {
      await platform.put(name, version(number));
      await platform.settled(name);
    }
    watch.stop = true;
    await Promise.all(callers);
    assert.deepEqual([...new Set(answers)], [200]);
    await serves(name, 4);
  });

  test("lets a call that runs finish on the version that took it", async () => {
    const name = await platform.deploy(SLOW);
    const running = platform.invoke(name, { ms: 1500 });
    await untilItRuns(name);
    await platform.put(name, version(2));
    await platform.settled(name);
    await serves(name, 2);
    const answer = await running;
    assert.deepEqual([answer.json.body, answer.headers["x-function-revision"]], ["slow", "1"]);
  });

  test("that changes nothing changes nothing", async () => {
    const name = await platform.deploy(version(1));
    const before = await platform.get(`/functions/${name}`);
    const put = await platform.put(name, version(1));
    assert.deepEqual([put.status, put.json.generation, put.json.status.state], [200, 1, "running"]);
    const after = await platform.get(`/functions/${name}`);
    assert.deepEqual(after.json, before.json);
  });

  test("of limits or triggers alone applies in place: a generation, and no revision", async () => {
    const path = uniquePath();
    const name = await platform.deploy(version(1));
    await serves(name, 1);
    const put = await platform.put(name, { ...version(1), maxReplicas: 3, triggers: [{ type: "http", config: { path } }] });
    assert.deepEqual([put.json.generation, put.json.revision], [2, 1]);
    await platform.settled(name);
    const called = await platform.send({ path });
    assert.deepEqual([called.text, called.headers["x-function-revision"], called.headers["x-cold-start"]], ["1", "1", "false"]);
    const { json } = await platform.get(`/functions/${name}`);
    assert.deepEqual([json.maxReplicas, json.status.state, json.status.observedGeneration], [3, "running", 2]);
  });

  test("replaces the whole spec: what is left out is the default again", async () => {
    const name = await platform.deploy({ ...version(1), environment: { A: "1" }, maxReplicas: 3, timeout: 5 });
    await platform.put(name, version(1));
    const { json } = await platform.get(`/functions/${name}`);
    assert.deepEqual([json.environment, json.maxReplicas, json.timeout], [{}, 10, 30]);
  });

  test("of code, handler, environment, memory, timeout, concurrency or network makes a revision each", async () => {
    const name = await platform.deploy(version(1));
    const code = "exports.handler = () => 1; exports.other = () => 2;";
    const changes = [
      { code },
      { code, handler: "index.other" },
      { environment: { A: "1" } },
      { memory: 128 },
      { timeout: 5 },
      { concurrency: 2 },
      { network: "none" },
    ];
    const revisions: number[] = [];
    for (const change of changes) revisions.push((await platform.put(name, { ...version(1), ...change })).json.revision);
    assert.deepEqual(revisions, [2, 3, 4, 5, 6, 7, 8]);
    assert.equal((await platform.settled(name)).state, "running");
  });

  test("that fails leaves the last good version serving, and says why", async () => {
    const name = await platform.deploy(version(1));
    await platform.put(name, BROKEN);
    const status = await platform.settled(name);
    assert.deepEqual([status.state, status.revision, status.observedGeneration], ["failed", 1, 2]);
    assert.match(String(status.message), /^SyntaxError/);
    assert.equal((await platform.get(`/functions/${name}`)).json.code, BROKEN.code);
    await serves(name, 1);
    await platform.put(name, version(3));
    const healed = await platform.settled(name);
    assert.deepEqual([healed.state, healed.revision, healed.message], ["running", 3, undefined]);
    await serves(name, 3);
  });

  test("with the same spec while failed builds it again", async () => {
    const { name } = await platform.create(BROKEN);
    assert.equal((await platform.settled(name)).state, "failed");
    const put = await platform.put(name, BROKEN);
    assert.deepEqual([put.status, put.json.generation], [200, 1]);
    assert.equal((await platform.settled(name)).state, "failed");
  });

  test("several times at once ends with the last", async () => {
    const name = await platform.deploy(version(0));
    const slow = "const end = Date.now() + 3000; while (Date.now() < end); exports.handler = () => 1;";
    await platform.put(name, { code: slow });
    await platform.put(name, version(2));
    await platform.put(name, version(3));
    const status = await platform.settled(name);
    assert.deepEqual([status.state, status.revision, status.observedGeneration], ["running", 4, 4]);
    await serves(name, 3);
  });

  test("of a function that is not there: 404, and of another name: 400", async () => {
    const absent = await platform.put(uniqueName(), version(1));
    assert.deepEqual([absent.status, absent.json.code], [404, "FUNCTION_NOT_FOUND"]);
    const name = await platform.deploy(version(1));
    const renamed = await platform.control("PUT", `/functions/${name}`, {
      name: uniqueName(),
      runtime: "nodejs18",
      handler: "index.handler",
      ...version(2),
    });
    assert.deepEqual([renamed.status, renamed.json.error], [400, "Invalid request body"]);
    assert.equal(renamed.json.details[0].path, "name");
    await serves(name, 1);
  });

  test("needs no name in the body", async () => {
    const name = await platform.deploy(version(1));
    const put = await platform.control("PUT", `/functions/${name}`, { runtime: "nodejs18", handler: "index.handler", ...version(2) });
    assert.equal(put.status, 200);
    await platform.settled(name);
    await serves(name, 2);
  });
});

describe("If-Match", { concurrency: 4 }, () => {
  test("lets through the tag of now and *, and guards PUT and DELETE against an older one with 412", async () => {
    const name = await platform.deploy(version(1));
    const { etag = "" } = (await platform.get(`/functions/${name}`)).headers;
    assert.match(etag, /^"[^"]+-1"$/);
    assert.equal((await platform.put(name, version(2), { "if-match": etag })).status, 200);
    const late = await platform.put(name, version(3), { "if-match": etag });
    assert.deepEqual([late.status, late.json.code], [412, "PRECONDITION_FAILED"]);
    const lateDelete = await platform.control("DELETE", `/functions/${name}`, undefined, { "if-match": etag });
    assert.equal(lateDelete.status, 412);
    assert.equal((await platform.put(name, version(4), { "if-match": "*" })).status, 200);
    assert.equal((await platform.put(name, version(5), { "if-match": 'W/"x", "y"' })).status, 412);
    const now = (await platform.get(`/functions/${name}`)).headers.etag ?? "";
    assert.equal((await platform.control("DELETE", `/functions/${name}`, undefined, { "if-match": `"other", ${now}` })).status, 204);
  });

  test("is no reason for a 304: status changes under the tag", async () => {
    const name = await platform.deploy(version(1));
    const { etag = "" } = (await platform.get(`/functions/${name}`)).headers;
    const again = await platform.control("GET", `/functions/${name}`, undefined, { "if-none-match": etag });
    assert.equal(again.status, 200);
  });
});

describe("deleting", { concurrency: 4 }, () => {
  test("answers 204 without a body, and the function is gone everywhere", async () => {
    const path = uniquePath();
    const name = await platform.deploy({ ...version(1), triggers: [{ type: "http", config: { path } }] });
    const deleted = await platform.delete(name);
    assert.deepEqual([deleted.status, deleted.text], [204, ""]);
    const after = await Promise.all([
      platform.get(`/functions/${name}`),
      platform.invoke(name),
      platform.call(name),
      platform.send({ path }),
      platform.get(`/functions/${name}/metrics`),
      platform.get(`/functions/${name}/logs`),
      platform.control("DELETE", `/functions/${name}`),
    ]);
    assert.deepEqual([...new Set(after.map((answer) => answer.status))], [404]);
    assert.deepEqual(
      (await platform.get("/functions")).json.filter((one: { name: string }) => one.name === name),
      [],
    );
  });

  test("is over when the calls within have ended; new ones get 404, and the name 409 meanwhile", async () => {
    const name = await platform.deploy(SLOW);
    const running = platform.invoke(name, { ms: 2500 });
    await untilItRuns(name);
    let isOver = false;
    const deleting = platform.delete(name).then((answer) => {
      isOver = true;
      return answer;
    });
    await waitFor("new calls to be refused", async () => (await platform.invoke(name)).status === 404);
    const again = await platform.create({ ...version(2), name });
    assert.deepEqual([again.status, again.json.code, again.json.details?.state], [409, "FUNCTION_EXISTS", "deleting"]);
    const shown = (await platform.get(`/functions/${name}`)).json;
    assert.deepEqual([shown.status.state, shown.code], ["deleting", SLOW.code]);
    const listed = (await platform.get("/functions")).json.find((one: { name: string }) => one.name === name);
    assert.equal(listed.status.state, "deleting");
    assert.equal((await platform.put(name, version(2))).status, 404);
    assert.equal((await platform.control("DELETE", `/functions/${name}`)).status, 404);
    assert.equal(isOver, false);
    assert.equal((await running).json.body, "slow");
    assert.equal((await deleting).status, 204);
    assert.equal((await platform.get(`/functions/${name}`)).status, 404);
    assert.equal((await platform.create({ ...version(2), name })).status, 201);
  });

  test("goes on when whoever asked for it leaves", async () => {
    const name = await platform.deploy(SLOW);
    const running = platform.invoke(name, { ms: 800 });
    await untilItRuns(name);
    const request = platform.client.begin({ method: "DELETE", path: `/api/v1/functions/${name}` });
    request.end();
    await waitFor("the deletion", async () => (await platform.get(`/functions/${name}`)).json.status?.state === "deleting");
    request.destroy();
    assert.equal((await running).json.body, "slow");
    await waitFor("the name to be free", async () => (await platform.create({ ...version(2), name })).status === 201);
    await platform.settled(name);
    await serves(name, 2);
  });

  test("and creating anew gives another uid, and counts from one", async () => {
    const first = await platform.create(version(1));
    await platform.settled(first.name);
    await platform.put(first.name, version(2));
    await platform.delete(first.name);
    const second = await platform.create({ ...version(3), name: first.name });
    assert.equal(second.status, 201);
    assert.notEqual(second.json.uid, first.json.uid);
    assert.deepEqual([second.json.generation, second.json.revision], [1, 1]);
  });

  test("while it deploys ends the deploy", async () => {
    const { name } = await platform.create({ code: "while (true);" });
    const deleted = await platform.delete(name);
    assert.equal(deleted.status, 204);
    assert.equal((await platform.get(`/functions/${name}`)).status, 404);
  });
});

describe("a connection", () => {
  test("serves one request after the other, errors in between", async () => {
    const name = await platform.deploy(version(7));
    const connection = await platform.connect();
    const head = (line: string): string => `${line} HTTP/1.1\r\nHost: ${platform.host}\r\n${platform.client.authorizationLines}\r\n`;
    connection.write(head(`GET /fn/${name}`));
    assert.equal((await connection.read()).body, "7");
    connection.write(head("GET /api/v1/functions/absent-of-all"));
    assert.equal((await connection.read()).status, 404);
    connection.write(head(`GET /fn/${name}`));
    assert.equal((await connection.read()).body, "7");
    connection.destroy();
  });
});
