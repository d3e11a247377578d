import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startServer, waitFor } from "../../support/server.ts";
import { ADMIN, type Answer, ECHO, SecuredServer } from "./support/secured.ts";

let secured: SecuredServer;

function send(
  key: string | undefined,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return secured.send(method, path, { key, body, headers });
}

async function makeKey(role: string, functions?: string | string[], more: object = {}): Promise<string> {
  const wish = { name: `${role} of a test`, role, ...(functions === undefined ? {} : { functions }), ...more };
  return (await secured.createKey(wish)).key;
}

/** Status, and the body without what differs by request. */
const shape = ({ status, body }: Answer) => ({ status, body: { ...body, requestId: "" } });

describe("with authentication on", () => {
  before(async () => {
    secured = await SecuredServer.start();
    await secured.deploy("mine", ECHO, {
      triggers: [{ type: "http", config: { path: "/mine", methods: ["GET"] } }],
      environment: { SECRET: "s3cret" },
    });
    await secured.deploy("other", ECHO, { triggers: [{ type: "http", config: { path: "/other", methods: ["GET"] } }] });
    await secured.deploy("open", ECHO, {
      auth: "none",
      triggers: [
        { type: "http", config: { path: "/open" } },
        { type: "http", config: { path: "/closed", auth: "required" } },
      ],
    });
  });
  after(() => secured.server.stop());

  test("nobody in particular is told 401 everywhere but where it is open, whatever is there", async () => {
    for (const [method, path] of [
      ["GET", "/api/v1/functions"],
      ["POST", "/api/v1/functions"],
      ["GET", "/api/v1/functions/mine"],
      ["GET", "/api/v1/functions/none"],
      ["DELETE", "/api/v1/functions/mine"],
      ["POST", "/api/v1/functions/mine/invoke"],
      ["POST", "/api/v1/functions/open/invoke"],
      ["POST", "/api/v1/functions/none/invoke"],
      ["GET", "/api/v1/functions/mine/logs"],
      ["GET", "/api/v1/keys"],
      ["GET", "/api/v1/runtimes"],
      ["GET", "/api/v1/queues/orders"],
      ["POST", "/api/v1/queues/orders/messages"],
      ["GET", "/metrics"],
      ["GET", "/fn/mine"],
      ["GET", "/fn/none"],
      ["GET", "/mine"],
      ["POST", "/mine"],
      ["GET", "/nothing"],
      ["GET", "/closed"],
    ] as const) {
      const { status, headers, body } = await send(undefined, method, path);
      assert.equal(status, 401, `${method} ${path}`);
      assert.equal(body.code, "UNAUTHENTICATED");
      assert.match(headers.get("www-authenticate") ?? "", /^Bearer realm="kube-serverless"$/);
    }
    for (const path of ["/health", "/ready", "/api/v1/ready", "/docs", "/openapi.json", "/fn/open", "/open"]) {
      assert.equal((await send(undefined, "GET", path)).status, 200, path);
    }
    assert.deepEqual((await send(undefined, "GET", "/ready")).body, { status: "ready" });
    assert.ok((await send(ADMIN, "GET", "/ready")).body.sandbox.driver);
  });

  test("a wrong, mistyped or deleted key is told so", async () => {
    const wrong = await send("something", "GET", "/api/v1/functions");
    assert.equal(wrong.status, 401);
    assert.match(wrong.headers.get("www-authenticate") ?? "", /error="invalid_token"/);
    const key = await makeKey("viewer");
    assert.match((await send(`${key}x`, "GET", "/api/v1/functions")).body.error, /mistyped/);
    assert.equal((await send(undefined, "GET", "/api/v1/functions", undefined, { "x-api-key": key })).status, 200);
    const { body: keys } = await send(ADMIN, "GET", "/api/v1/keys");
    const mine = keys.filter((each: { role: string }) => each.role === "viewer").at(-1);
    assert.equal(JSON.stringify(keys).includes(key), false);
    assert.equal((await send(ADMIN, "DELETE", `/api/v1/keys/${mine.id}`)).status, 204);
    assert.equal((await send(key, "GET", "/api/v1/functions")).status, 401);
    assert.equal((await send(ADMIN, "DELETE", `/api/v1/keys/${mine.id}`)).body.code, "KEY_NOT_FOUND");
  });

  test("a key is rotated: both secrets work for a while, and at once only the new one where asked", async () => {
    const key = await makeKey("viewer");
    const { body: keys } = await send(ADMIN, "GET", "/api/v1/keys");
    const id = keys.at(-1).id;
    const rotated = await send(ADMIN, "POST", `/api/v1/keys/${id}/rotate`);
    assert.equal(rotated.status, 200, JSON.stringify(rotated.body));
    for (const each of [key, rotated.body.key]) assert.equal((await send(each, "GET", "/api/v1/runtimes")).status, 200);
    const again = await send(ADMIN, "POST", `/api/v1/keys/${id}/rotate`, { overlapSeconds: 0 });
    for (const each of [key, rotated.body.key]) assert.equal((await send(each, "GET", "/api/v1/runtimes")).status, 401);
    assert.equal((await send(again.body.key, "GET", "/api/v1/runtimes")).status, 200);
    assert.equal((await send(ADMIN, "POST", "/api/v1/keys", { name: "x", role: "king" })).status, 400);
  });

  test("a caller sees, reads and calls what its patterns cover; the rest answers as if it were not there", async () => {
    const invoker = await makeKey("invoker", "mine");
    assert.deepEqual(
      (await send(invoker, "GET", "/api/v1/functions")).body.map((each: { name: string }) => each.name),
      ["mine"],
    );
    assert.equal((await send(invoker, "POST", "/api/v1/functions/mine/invoke", {})).status, 200);
    assert.equal((await send(invoker, "GET", "/fn/mine")).status, 200);
    assert.equal((await send(invoker, "GET", "/mine")).status, 200);
    assert.equal((await send(invoker, "POST", "/mine")).status, 405);
    for (const [method, hidden, none] of [
      ["GET", "/api/v1/functions/other", "/api/v1/functions/none"],
      ["DELETE", "/api/v1/functions/other", "/api/v1/functions/none"],
      ["GET", "/api/v1/functions/other/metrics", "/api/v1/functions/none/metrics"],
      ["POST", "/api/v1/functions/other/invoke", "/api/v1/functions/none/invoke"],
      ["GET", "/fn/other", "/fn/none"],
    ] as const) {
      const answer = await send(invoker, method, hidden);
      assert.equal(answer.status, 404, `${method} ${hidden}`);
      assert.deepEqual(shape(answer), shape(await send(invoker, method, none)));
    }
    for (const method of ["GET", "POST"]) {
      const { status, body } = await send(invoker, method, "/other");
      assert.equal(status, 404, method);
      assert.equal(body.error, "Not found: no function has a trigger for /other");
    }
    assert.equal((await send(invoker, "DELETE", "/api/v1/functions/mine")).status, 403);
    assert.equal((await send(invoker, "GET", "/api/v1/functions/mine/logs")).status, 403);
    assert.equal((await send(invoker, "GET", "/metrics")).status, 403);
    assert.equal((await send(invoker, "GET", "/api/v1/keys")).status, 403);
  });

  test("values of the environment are masked for who may not change it, code for who may not read it", async () => {
    const read = async (role: string) => (await send(await makeKey(role), "GET", "/api/v1/functions/mine")).body;
    assert.deepEqual((await read("developer")).environment, { SECRET: "s3cret" });
    const viewed = await read("viewer");
    assert.deepEqual(viewed.environment, { SECRET: "********" });
    assert.equal(viewed.code, ECHO);
    const invoked = await read("invoker");
    assert.deepEqual([invoked.environment.SECRET, invoked.code], ["********", undefined]);
  });

  test("a conflict names the other function to who may see it alone", async () => {
    const developer = await makeKey("developer", "team-*");
    const spec = {
      name: "team-a",
      runtime: "nodejs18",
      handler: "index.handler",
      code: ECHO,
      triggers: [{ type: "http", config: { path: "/other" } }],
    };
    const hidden = await send(developer, "POST", "/api/v1/functions", spec);
    assert.equal(hidden.status, 409);
    assert.doesNotMatch(JSON.stringify(hidden.body.details) + hidden.body.error.replace("another", ""), /"other"|function other/);
    assert.match((await send(ADMIN, "POST", "/api/v1/functions", spec)).body.error, /function other/);
    assert.equal((await send(developer, "POST", "/api/v1/functions", { ...spec, name: "elsewhere", triggers: [] })).status, 403);
    assert.equal((await send(developer, "POST", "/api/v1/functions", { ...spec, name: "other", triggers: [] })).status, 403);
  });

  test("a function learns who called, and never gets the key", async () => {
    const key = await makeKey("invoker", "mine");
    const { body } = await send(key, "GET", "/fn/mine");
    assert.deepEqual([body.caller.kind, body.caller.role, body.caller.name], ["api-key", "invoker", "invoker of a test"]);
    assert.match(body.caller.subject, /^key:/);
    assert.equal(body.headers.authorization, undefined);
    const twice = await send(key, "GET", "/fn/mine", undefined, { "x-api-key": key });
    assert.deepEqual([twice.body.headers.authorization, twice.body.headers["x-api-key"]], [undefined, undefined]);
    const foreign = await send(undefined, "GET", "/fn/open", undefined, { authorization: "Basic YTpi", "x-api-key": "theirs" });
    assert.deepEqual(
      [foreign.body.headers.authorization, foreign.body.headers["x-api-key"], foreign.body.caller],
      ["Basic YTpi", "theirs", null],
    );
    const known = await send(key, "GET", "/fn/open");
    assert.equal(known.body.caller.role, null);
    assert.equal(known.body.headers.authorization, undefined);
  });

  test("a webhook is taken by its signature over the exact bytes, else the function is not woken", async () => {
    const signature = { scheme: "github", secretFrom: "HOOK" };
    const triggers = [{ type: "http", config: { path: "/hook", auth: "none", signature } }];
    await secured.deploy("hook", "exports.handler = async (event) => event.body", { environment: { HOOK: "shared" }, triggers });
    const body = '{"a": 1}';
    const sign = (text: string) => ({ "x-hub-signature-256": `sha256=${createHmac("sha256", "shared").update(text).digest("hex")}` });
    assert.equal((await send(undefined, "POST", "/hook", body, sign("other"))).status, 401);
    assert.equal((await send(undefined, "POST", "/hook", body)).status, 401);
    assert.equal((await send(undefined, "GET", "/hook")).status, 401);
    assert.equal((await send(ADMIN, "GET", "/api/v1/functions/hook/scaling")).body.replicas, 0);
    const taken = await send(undefined, "POST", "/hook", body, sign(body));
    assert.deepEqual([taken.status, taken.body], [200, { a: 1 }]);
    // The function's own address asks for a caller.
    assert.equal((await send(undefined, "POST", "/fn/hook", body, sign(body))).status, 401);
  });

  test("a function's rate is kept before it is woken, told in headers, and counted", async () => {
    await secured.deploy("slow", ECHO, { rateLimit: { requestsPerSecond: 0.01, burst: 2 } });
    const first = await send(ADMIN, "GET", "/fn/slow");
    assert.equal(first.status, 200);
    assert.equal(first.headers.get("ratelimit-policy"), '"function";q=2;w=200');
    assert.match(first.headers.get("ratelimit") ?? "", /^"function";r=1;t=\d+$/);
    assert.equal((await send(ADMIN, "POST", "/api/v1/functions/slow/invoke", {})).status, 200);
    const refused = await send(ADMIN, "GET", "/fn/slow");
    assert.deepEqual([refused.status, refused.body.code, refused.body.details.scope], [429, "RATE_LIMITED", "function"]);
    assert.ok(Number(refused.headers.get("retry-after")) > 90);
    assert.match(refused.headers.get("ratelimit") ?? "", /"function";r=0;t=\d+/);
    const { errors, invocations } = (await send(ADMIN, "GET", "/api/v1/functions/slow/metrics")).body;
    assert.deepEqual([errors.RATE_LIMITED, invocations], [1, 2]);
  });

  test("calls at once are bounded, and a place is free again however a call ended", async () => {
    await secured.deploy(
      "busy",
      "exports.handler = (event) => event.body?.fail ? Promise.reject(new Error('no')) : new Promise((r) => setTimeout(r, event.body?.ms ?? 0))",
      { maxConcurrency: 1 },
    );
    const call = (body: object) => send(ADMIN, "POST", "/api/v1/functions/busy/invoke", body);
    const long = call({ ms: 1500 });
    await waitFor("the call to run", async () => (await send(ADMIN, "GET", "/api/v1/functions/busy/metrics")).body.inFlight === 1);
    const refused = await call({});
    assert.deepEqual([refused.status, refused.body.details?.kind], [429, "concurrency"]);
    assert.equal((await long).status, 200);
    assert.equal((await call({ fail: true })).status, 500);
    assert.equal((await call({})).status, 200);
    // A body that is refused on its way gives the place back, too.
    assert.equal((await send(ADMIN, "POST", "/fn/busy", "x".repeat(6 * 1024 * 1024 + 1))).status, 413);
    assert.equal((await call({})).status, 200);
  });

  test("a key's own rate is its own", async () => {
    const tight = await makeKey("invoker", "mine", { rateLimit: { requestsPerSecond: 0.01, burst: 1 } });
    const wide = await makeKey("invoker", "mine");
    assert.equal((await send(tight, "GET", "/fn/mine")).status, 200);
    assert.deepEqual((await send(tight, "GET", "/fn/mine")).body.details.scope, "caller");
    assert.equal((await send(wide, "GET", "/fn/mine")).status, 200);
  });

  test("a budget that is spent refuses calls until the day ends", async () => {
    await secured.deploy("dear", ECHO, { budget: { perDay: 0.0000001 } });
    assert.equal((await send(ADMIN, "GET", "/fn/dear")).status, 200);
    const refused = await send(ADMIN, "GET", "/fn/dear");
    assert.deepEqual([refused.status, refused.body.code], [429, "BUDGET_EXCEEDED"]);
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
    assert.ok(secured.server.log.some(({ msg, function: name }) => name === "dear" && /budget is spent/.test(msg)));
  });

  test("changes and refusals are in the audit log, secrets are not", async () => {
    const key = await makeKey("viewer");
    await send(key, "DELETE", "/api/v1/functions/mine");
    const read = (kind: string): string =>
      readdirSync(join(secured.server.dataFolder, "audit", kind))
        .map((file) => readFileSync(join(secured.server.dataFolder, "audit", kind, file), "utf8"))
        .join("");
    await waitFor("the refusal", () =>
      /"verb":"delete","resource":"functions","target":"mine","outcome":"refused","code":"FORBIDDEN"/.test(read("refusals")),
    );
    await waitFor("the change", () =>
      /"verb":"create","resource":"functions","target":"mine","outcome":"done","from":"127.0.0.1"/.test(read("changes")),
    );
    assert.match(read("changes"), /"resource":"apikeys"/);
    for (const secret of [key, ADMIN, "s3cret"]) assert.equal((read("changes") + read("refusals")).includes(secret), false);
  });
});

test("the first start makes an admin key and tells it once; a restart knows it and limits of before", async (t) => {
  secured = new SecuredServer(await startServer({ flags: ["--auth"] }));
  t.after(() => secured.server.stop());
  const { dataFolder } = secured.server;
  const told = secured.server.log.find(({ msg }) => msg === "listening");
  const key = String(told?.["newAdminKey"]);
  assert.match(key, /^ksk_/);
  assert.equal((await send(key, "GET", "/api/v1/functions")).status, 200);
  await secured.server.kill();
  secured = new SecuredServer(await startServer({ flags: ["--auth"], dataFolder }));
  assert.equal(secured.server.log.find(({ msg }) => msg === "listening")?.["newAdminKey"], undefined);
  assert.equal((await send(key, "GET", "/api/v1/functions")).status, 200);
});

test("without authentication a function that asks for a caller is closed, the API is open, keys are not there", async (t) => {
  secured = new SecuredServer(await startServer({ flags: ["--caller-rate-limit", "0.01:2", "--allowed-hosts", "x"] }));
  t.after(() => secured.server.stop());
  const make = (name: string, auth?: string) =>
    send(undefined, "POST", "/api/v1/functions", {
      name,
      runtime: "nodejs18",
      handler: "index.handler",
      code: ECHO,
      ...(auth === undefined ? {} : { auth }),
    });
  assert.equal((await make("closed", "required")).status, 201);
  assert.equal((await make("plain")).status, 201);
  const closed = await send(undefined, "GET", "/fn/closed");
  assert.equal(closed.status, 401);
  assert.match(closed.body.error, /--auth/);
  assert.equal((await send(undefined, "POST", "/api/v1/keys", { name: "x", role: "admin" })).status, 404);
  assert.equal((await send(undefined, "GET", "/fn/plain")).status, 200);
  assert.equal((await send(undefined, "POST", "/api/v1/functions/plain/invoke", {})).status, 200);
  assert.equal((await send(undefined, "GET", "/fn/plain")).body.details.scope, "caller");
});
