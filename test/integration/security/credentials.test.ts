import assert from "node:assert/strict";
import { globSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../support/server.ts";
import { RawClient, type RawHeaders } from "./support/raw-request.ts";
import { ADMIN, ECHO, SecuredServer } from "./support/secured.ts";

/** Of the control API, and of the gateway by each of its ways. */
const DOORS: readonly (readonly [method: string, path: string])[] = [
  ["GET", "/api/v1/functions"],
  ["GET", "/api/v1/functions/mine"],
  ["GET", "/api/v1/keys"],
  ["GET", "/metrics"],
  ["POST", "/api/v1/queues/letters/messages"],
  ["POST", "/api/v1/functions/mine/invoke"],
  ["GET", "/fn/mine"],
  ["GET", "/mine"],
];

const TELLS_HEADERS =
  "exports.handler = async (event, context) => console.log(JSON.stringify({ ...event.headers, caller: context.caller }));";

describe("what proves a caller", () => {
  let secured: SecuredServer;
  let raw: RawClient;
  let other: string;
  before(async () => {
    secured = await SecuredServer.start();
    raw = new RawClient(secured.server.port);
    other = (await secured.createKey({ role: "admin" })).key;
    await secured.deploy("mine", ECHO, { triggers: [{ type: "http", config: { path: "/mine" } }] });
    await secured.deploy("open", ECHO, { auth: "none" });
    await secured.deploy("reader", TELLS_HEADERS, { triggers: [{ type: "queue", config: { queue: "letters" } }] });
  });
  after(async () => {
    raw.close();
    await secured.server.stop();
  });

  const bearer = (...keys: string[]): string[] => keys.map((key) => `Bearer ${key}`);

  async function statusesAt(headers: RawHeaders, query = ""): Promise<Record<string, number>> {
    const statuses: Record<string, number> = {};
    for (const [method, path] of DOORS) {
      const answer = await raw.send({ method, path: `${path}${query}`, headers: { host: "x", ...headers } });
      statuses[`${method} ${path}`] = answer.status;
    }
    return statuses;
  }
  const atAll = (status: (method: string, path: string) => number) =>
    Object.fromEntries(DOORS.map(([method, path]) => [`${method} ${path}`, status(method, path)]));
  const REFUSED = atAll(() => 401);

  test("two of it, of whatever kind, are refused alike at every door", async () => {
    const cases: Record<string, RawHeaders> = {
      "two Authorization headers, the first of them good": { authorization: bearer(ADMIN, "wrong") },
      "two Authorization headers, the second of them good": { authorization: bearer("wrong", ADMIN) },
      "two Authorization headers, both good": { authorization: bearer(ADMIN, other) },
      "the same Authorization header twice": { authorization: bearer(ADMIN, ADMIN) },
      "another scheme before the good one": { authorization: ["Basic YTpi", `Bearer ${ADMIN}`] },
      "two keys in one header": { authorization: `Bearer ${ADMIN}, Bearer ${other}` },
      "two X-API-Key headers": { "x-api-key": [ADMIN, other] },
      "the same X-API-Key header twice": { "x-api-key": [other, other] },
      "two different keys in both headers": { authorization: `Bearer ${ADMIN}`, "x-api-key": other },
      "a good and a wrong key in both headers": { authorization: `Bearer ${other.slice(0, -1)}x`, "x-api-key": other },
    };
    for (const [name, headers] of Object.entries(cases)) assert.deepEqual(await statusesAt(headers), REFUSED, name);
    const answer = await raw.send({
      method: "GET",
      path: "/fn/mine",
      headers: { host: "x", ...cases["two different keys in both headers"] },
    });
    assert.match(JSON.parse(answer.text).error, /different keys; send one/);
  });

  test("the same key in both headers is one", async () => {
    const expected = atAll((_method, path) => (path.endsWith("/messages") ? 202 : 200));
    assert.deepEqual(await statusesAt({ authorization: `Bearer ${other}`, "x-api-key": other }), expected);
    assert.deepEqual(await statusesAt({ authorization: `Bearer ${ADMIN}`, "x-api-key": ADMIN }), expected);
  });

  test("counts nowhere but in its headers: not in the query, a cookie, Basic or the body", async () => {
    for (const key of [ADMIN, other]) {
      const names = ["key", "api_key", "apikey", "x-api-key", "X-API-Key", "access_token", "token", "authorization"];
      assert.deepEqual(await statusesAt({}, `?${names.map((name) => `${name}=${key}`).join("&")}`), REFUSED);
      assert.deepEqual(await statusesAt({}, `?authorization=Bearer%20${key}`), REFUSED);
      assert.deepEqual(await statusesAt({ cookie: `x-api-key=${key}; authorization=${key}` }), REFUSED);
      assert.deepEqual(await statusesAt({ authorization: `Basic ${Buffer.from(`admin:${key}`).toString("base64")}` }), REFUSED);
      assert.deepEqual(await statusesAt({ "proxy-authorization": `Bearer ${key}`, "x-authorization": `Bearer ${key}` }), REFUSED);
    }
    const form = { "content-type": "application/x-www-form-urlencoded", host: "x" };
    const sent = await raw.send({ method: "POST", path: "/fn/mine", headers: form, body: `access_token=${ADMIN}` });
    assert.equal(sent.status, 401);
  });

  test("does not reach a function that is open, even where it was refused", async () => {
    for (const headers of [
      { authorization: bearer(ADMIN, other) },
      { authorization: `Bearer ${ADMIN}`, "x-api-key": other },
      { "x-api-key": [other, ADMIN] },
    ]) {
      const answer = await raw.send({ method: "GET", path: "/fn/open", headers: { host: "x", ...headers } });
      assert.equal(answer.status, 200);
      const seen = JSON.parse(answer.text);
      assert.deepEqual([seen.caller, seen.headers.authorization, seen.headers["x-api-key"]], [null, undefined, undefined]);
    }
  });

  test("is neither kept with a message nor given to who takes it, nor anywhere in the data folder", async () => {
    const publish = async (headers: Record<string, string>): Promise<void> => {
      const answer = await secured.send("POST", "/api/v1/queues/letters/messages", { body: {}, headers: { "x-kept": "yes", ...headers } });
      assert.equal(answer.status, 202, JSON.stringify(answer.body));
    };
    const sent: Record<string, string>[] = [
      { "x-api-key": other },
      { "x-api-key": other, authorization: `Bearer ${other}` },
      { "x-api-key": ADMIN, authorization: "Basic b3duOm93bg==" },
      { "x-api-key": "own", authorization: `Bearer ${ADMIN}` },
    ];
    for (const headers of sent) await publish(headers);
    const taken = await waitFor("all messages to be taken", async () => {
      const { body } = await secured.admin("GET", "/api/v1/functions/reader/logs?tail=100");
      const seen = body.map(({ message }: { message: string }) => JSON.parse(message));
      const kept = seen.filter((each: Record<string, unknown>) => each["x-kept"] === "yes");
      return kept.length === sent.length && kept;
    });
    for (const each of taken) assert.deepEqual([each.authorization, each.caller], [undefined, undefined]);
    // A header of the publisher's own, which proved nobody, is the message's.
    assert.deepEqual(
      taken.map((each: Record<string, unknown>) => each["x-api-key"]).filter((key: unknown) => key !== undefined),
      ["own"],
    );
    const { dataFolder } = secured.server;
    const files = globSync("**/*", { cwd: dataFolder, exclude: ["go/**"] }).filter((file) => statSync(join(dataFolder, file)).isFile());
    assert.ok(files.length > 3);
    for (const secret of [ADMIN, other, "b3duOm93bg=="])
      assert.deepEqual(
        files.filter((file) => readFileSync(join(dataFolder, file)).includes(secret)),
        [],
      );
  });
});
