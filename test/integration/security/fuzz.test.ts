import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { OPERATIONS, type Resource, ROLES, type Verb } from "../../../packages/contracts/src/index.ts";
import { covers, type Grantee, judge, judgeQueue, sees, type Verdict } from "./support/oracle.ts";
import { type RawAnswer, RawClient, type RawRequest } from "./support/raw-request.ts";
import { ADMIN, SecuredServer } from "./support/secured.ts";

/** Requests of one run, and how long they may take at the most: the first ones count as well on a slow machine. */
const RUNS = 2000;
const LIMIT_MS = 120_000;
const MIN_RUNS = 300;
const SEED = 20_260_101;

const CODE =
  "exports.handler = async (event, context) => ({ statusCode: 200, body: { by: process.env.MARK, role: context.caller?.role ?? null } });";

interface Trigger {
  path: string;
  methods?: string[];
  auth?: "none" | "required";
}

/** All names have the same length, as have all paths, so that answers about them do, too. */
const FUNCTIONS: Record<string, { auth?: "none"; paths: Trigger[]; queues: string[] }> = {
  "a-one": { paths: [{ path: "/path-a1" }], queues: ["queue-a"] },
  "a-two": {
    paths: [
      { path: "/path-a2", methods: ["GET"] },
      { path: "/path-a3", auth: "none", methods: ["POST"] },
    ],
    queues: ["queue-m"],
  },
  "b-one": { paths: [{ path: "/path-b1" }, { path: "/path-b1/:id/*" }], queues: ["queue-b", "queue-m"] },
  "b-opn": {
    auth: "none",
    paths: [
      { path: "/path-b2", methods: ["PUT"] },
      { path: "/path-b3", auth: "required" },
    ],
    queues: [],
  },
};
const NAMES = Object.keys(FUNCTIONS);
const PATTERNS: readonly string[][] = [["*"], ["a-*"], ["b-*"], ["a-one"], ["b-*", "a-two"], ["*-one"], ["z-*"]];
const QUEUES = ["queue-a", "queue-b", "queue-m"];
const MISSING = { name: "z-non", path: "/path-zz", queue: "queue-z", id: "0000000000zz" };
/** Of every function: nobody but who may read it sees them. */
const secretOf = (name: string): string => `secret-of-${name}`;
const codeMarkOf = (name: string): string => `code-of-${name}`;

/** What each operation of the document asks of its caller. */
const ASKS: Record<string, [Verb, Resource] | "open"> = {
  listFunctions: ["list", "functions"],
  createFunction: ["create", "functions"],
  getFunction: ["get", "functions"],
  updateFunction: ["update", "functions"],
  deleteFunction: ["delete", "functions"],
  invokeFunction: ["create", "functions/invoke"],
  getFunctionMetrics: ["get", "functions/metrics"],
  getFunctionLogs: ["get", "functions/logs"],
  getFunctionScaling: ["get", "functions/scaling"],
  getFunctionCron: ["get", "functions/cron"],
  listKeys: ["list", "apikeys"],
  createKey: ["create", "apikeys"],
  getKey: ["get", "apikeys"],
  rotateKey: ["update", "apikeys"],
  deleteKey: ["delete", "apikeys"],
  publishMessage: ["create", "queues/messages"],
  getQueue: ["get", "queues"],
  listRuntimes: ["list", "runtimes"],
  getMetrics: ["get", "metrics"],
  getHealth: "open",
  getHealthV1: "open",
  getReadiness: "open",
  getReadinessV1: "open",
  getOpenApi: "open",
};

interface Caller {
  grantee: Grantee;
  key: string | undefined;
}

/** A request, what the table says of it, and what a hidden thing must look like: the same request for a thing that is not there. */
interface Shot {
  what: string;
  request: RawRequest;
  /** `miss`: no such thing for anybody; `any`: it need only be no error and tell nothing. */
  verdict: Verdict | "open" | "miss" | "any";
  /** Pairs of what is asked for and the missing thing to ask for instead. */
  twin?: [string, string];
  /** It need not be a 404, but what is missing must be answered the same. */
  isHidden?: boolean;
  callOf?: string;
  readOf?: string;
}

describe("every route, by callers of random roles", () => {
  let secured: SecuredServer;
  let client: RawClient;
  const callers: Caller[] = [{ grantee: { role: "admin", functions: ["*"] }, key: ADMIN }];

  before(async () => {
    secured = await SecuredServer.start();
    client = new RawClient(secured.server.port);
    for (const [name, { auth, paths, queues }] of Object.entries(FUNCTIONS)) {
      const triggers = [
        ...paths.map((config) => ({ type: "http", config })),
        ...queues.map((queue) => ({ type: "queue", config: { queue, exchange: "all" } })),
      ];
      const environment = { MARK: name, SECRET: secretOf(name) };
      await secured.deploy(name, `/* ${codeMarkOf(name)} */ ${CODE}`, { environment, triggers, ...(auth === undefined ? {} : { auth }) });
    }
    for (const role of ROLES)
      for (const functions of PATTERNS)
        callers.push({ grantee: { role, functions }, key: (await secured.createKey({ role, functions })).key });
    for (const key of [undefined, "something", `ksk_000000000000_${"a".repeat(43)}abcdef`, "a.b.c", ""])
      callers.push({ grantee: undefined, key });
  });
  after(async () => {
    client?.close();
    await secured?.[Symbol.asyncDispose]();
  });

  test("the test knows every operation of the document", () => {
    assert.deepEqual(Object.keys(ASKS).sort(), OPERATIONS.map(({ id }) => id).sort());
  });

  test("nothing is a 500, nothing beyond the table, and what is hidden is word for word what is missing", async () => {
    const seen = new Map<string, number>();
    const endMs = performance.now() + LIMIT_MS;
    const violations: string[] = [];
    let runs = 0;
    const shots = fc.tuple(fc.constantFrom(...callers), buildShots(), fc.constantFrom(...CREDENTIALS));
    for (const [caller, aim, credential] of fc.sample(shots, { seed: SEED, numRuns: RUNS })) {
      if (performance.now() > endMs) break;
      const shot = aim(caller.grantee);
      seen.set(shot.verdict, (seen.get(shot.verdict) ?? 0) + 1);
      runs++;
      await shoot(caller, shot, credential).catch((error: Error) => violations.push(error.message));
    }
    assert.deepEqual(violations.slice(0, 20), []);
    assert.ok(runs >= MIN_RUNS, `only ${runs} requests in ${LIMIT_MS} ms`);
    for (const verdict of ["allowed", "forbidden", "hidden", "unauthenticated", "open", "miss"])
      assert.ok((seen.get(verdict) ?? 0) >= runs / 100, `too few are ${verdict}: ${JSON.stringify(Object.fromEntries(seen))}`);
    assert.deepEqual(
      secured.server.log.filter(({ level }) => level >= 50),
      [],
    );
  });

  async function shoot({ grantee, key }: Caller, shot: Shot, credential: Credential): Promise<void> {
    const send = (request: RawRequest): Promise<RawAnswer> =>
      client.send({ ...request, headers: { ...request.headers, ...credential(key), "x-request-id": "fuzz" } });
    const answer = await send(shot.request);
    const report = `${shot.what} ${shot.request.method} ${shot.request.path} by ${JSON.stringify(grantee)}: ${shot.verdict}, was answered ${answer.status} ${answer.text.slice(0, 300)}`;
    assert.ok(answer.status < 500, report);
    assertKeepsSecrets(grantee, shot, answer, report);
    if (shot.verdict === "hidden" || shot.isHidden === true) await assertLooksMissing(shot, answer, send, report);
    if (shot.verdict === "unauthenticated") assert.equal(answer.status, 401, report);
    else if (shot.verdict === "forbidden") assert.equal(answer.status, 403, report);
    else if (shot.verdict === "hidden") assert.equal(answer.status, 404, report);
    else if (shot.verdict === "miss") assert.ok([400, 401, 404, 405].includes(answer.status), report);
    else if (shot.verdict !== "any") {
      assert.ok(![401, 403].includes(answer.status), report);
      if (shot.callOf !== undefined) assertCalled(grantee, shot.callOf, answer, report);
    }
  }

  /** The same request for a thing that is not there must be answered the same. */
  async function assertLooksMissing(shot: Shot, answer: RawAnswer, send: (request: RawRequest) => Promise<RawAnswer>, report: string) {
    const [asked, missing] = shot.twin!;
    const swap = (text: string): string => text.replaceAll(asked, missing);
    const { method, path, headers, body } = shot.request;
    const swapped = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, swap(value)]));
    const twin = await send({ method, path: swap(path), headers: swapped, body: body === undefined ? undefined : swap(body) });
    assert.deepEqual(normalise(answer, swap), normalise(twin, swap), report);
  }

  /** Nothing of a function is in an answer to who may not read it, unless they said it themselves. */
  function assertKeepsSecrets(grantee: Grantee, { request, readOf }: Shot, { text }: RawAnswer, report: string): void {
    const said = JSON.stringify(request);
    for (const name of NAMES) {
      const may = (resource: Resource): boolean => judge(grantee, "get", resource, name) === "allowed";
      if (text.includes(secretOf(name))) assert.ok(may("functions/environment") && readOf !== undefined, report);
      if (text.includes(codeMarkOf(name))) assert.ok(may("functions/code") && readOf === name, report);
      const isToldByTable = sees(grantee, name) || said.includes(name) || judge(grantee, "get", "metrics") === "allowed";
      if (text.includes(`"${name}"`)) assert.ok(isToldByTable || isOpenDoor(request), report);
    }
    if (text.includes('"sandbox"') && request.path.includes("ready")) assert.equal(judge(grantee, "get", "readiness"), "allowed", report);
  }

  function assertCalled(grantee: Grantee, name: string, { status, text }: RawAnswer, report: string): void {
    // A method that the path does not take, or a body that is no JSON.
    if (status === 400 || status === 405 || text === "") return;
    assert.equal(status, 200, report);
    const body = JSON.parse(text);
    const { by, role } = body.body ?? body;
    assert.equal(by, name, report);
    assert.equal(role, grantee !== undefined && covers(grantee, name) ? grantee.role : null, report);
  }
});

/** Doors open to all, whose function says its own name. */
function isOpenDoor({ path, headers }: RawRequest): boolean {
  return ["/path-a3", "/path-b2", "/fn/b-opn"].some((door) => path.startsWith(door)) || headers["host"]?.startsWith("b-opn.") === true;
}

type Credential = (key: string | undefined) => Record<string, string>;
const CREDENTIALS: readonly Credential[] = [
  (key): Record<string, string> => (key === undefined ? {} : { authorization: `Bearer ${key}` }),
  (key): Record<string, string> => (key === undefined ? {} : { authorization: `bearer  ${key}` }),
  (key): Record<string, string> => (key === undefined ? {} : { "x-api-key": key }),
  (key): Record<string, string> => (key === undefined ? {} : { "x-api-key": key, authorization: "Basic YTpi" }),
];

function normalise({ status, headers, text }: RawAnswer, swap: (text: string) => string): unknown {
  const { date: _date, ...others } = headers;
  return { status, headers: others, text: swap(text) };
}

/** What a request aims at, once it is known who makes it. */
type Aim = (grantee: Grantee) => Shot;

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
const BODIES = [undefined, "", "{}", "[]", "null", "{", '{"a":1}', `{"overlapSeconds":0}`, "\u0000\ufffd"];
const STRANGE = [
  "",
  ".",
  "..",
  "%2e",
  "%00",
  "%ff",
  "%2f",
  "A",
  "a b",
  "__proto__",
  "constructor",
  "a-one%20",
  "'\"<script>",
  "x".repeat(300),
];
const TYPES = ["application/json", "text/plain", "application/x-www-form-urlencoded"];

function buildShots(): fc.Arbitrary<Aim> {
  const content = fc.record({ body: fc.constantFrom(...BODIES), type: fc.constantFrom(...TYPES) });
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom(...OPERATIONS), fc.constantFrom(...NAMES, MISSING.name), content).map(aimAtOperation),
    },
    {
      weight: 3,
      arbitrary: fc.tuple(fc.constantFrom(...NAMES, MISSING.name), fc.constantFrom(...METHODS), fc.boolean(), content).map(aimAtFunction),
    },
    { weight: 3, arbitrary: fc.tuple(fc.constantFrom(...PATHS), fc.constantFrom(...METHODS), content).map(aimAtTrigger) },
    { weight: 2, arbitrary: fc.tuple(fc.constantFrom(...QUEUES, MISSING.queue), fc.boolean(), content).map(aimAtQueue) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom(...OPERATIONS), fc.constantFrom(...METHODS), fc.constantFrom(...NAMES)).map(aimByMethod),
    },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom(...ROOTS), fc.constantFrom(...STRANGE), fc.constantFrom(...METHODS)).map(aimAnywhere),
    },
  );
}

type Content = { body: string | undefined; type: string };

function contentOf({ body, type }: Content): { headers: Record<string, string>; body: string | undefined } {
  return { headers: body === undefined ? {} : { "content-type": type }, body };
}

/** An operation of the document, with bodies that are taken or not; none changes anything when it is let through. */
function aimAtOperation([operation, name, content]: [(typeof OPERATIONS)[number], string, Content]): Aim {
  const asks = ASKS[operation.id]!;
  const isOfFunction = operation.path.includes("{name}");
  return (grantee) => {
    const { headers, body } = bodyFor(operation.id, name, content);
    const path = operation.path.replace("{name}", name).replace("{id}", MISSING.id).replace("{queue}", MISSING.queue);
    const request = { method: operation.method.toUpperCase(), path, headers: { ...headers, "if-match": '"another"' }, body };
    if (asks === "open") return { what: operation.id, request, verdict: "open" };
    const [verb, resource] = asks;
    const isOfQueue = resource === "queues" || resource === "queues/messages";
    const target = isOfFunction ? name : undefined;
    const table = isOfQueue ? judgeQueue(grantee, verb, resource, []) : judge(grantee, verb, resource, target);
    const verdict = refine(table, operation.id, name, grantee, content);
    const twin: [string, string] = isOfQueue ? [MISSING.queue, "queue-y"] : [name, "y-non"];
    const isCall = operation.id === "invokeFunction" && name !== MISSING.name && content.type === "application/json";
    return {
      what: operation.id,
      request,
      verdict,
      twin,
      ...(isCall ? { callOf: name } : {}),
      readOf: operation.id === "listFunctions" ? "" : name,
    };
  };
}

/** What comes before or after the table: heads that no route takes, and the name in the body of a function that is made. */
function refine(table: Verdict, id: string, name: string, grantee: Grantee, { body, type }: Content): Shot["verdict"] {
  const isOtherType = body !== undefined && type !== "application/json" && !["invokeFunction", "publishMessage"].includes(id);
  if (isOtherType && (table !== "unauthenticated" || id === "getQueue")) return "any";
  if (id === "createFunction" && table === "allowed") return judge(grantee, "create", "functions", name);
  return table;
}

/** A spec that cannot be deployed, as its path is taken; keys with an end in the past. */
function bodyFor(id: string, name: string, content: Content): ReturnType<typeof contentOf> {
  if (id !== "createFunction" && id !== "updateFunction" && id !== "createKey") return contentOf(content);
  const config = { path: "/path-a1" };
  const spec = {
    name,
    runtime: "nodejs18",
    handler: "index.handler",
    code: CODE,
    triggers: [
      { type: "http", config },
      { type: "http", config: { path: "/path-b1" } },
    ],
  };
  const key = { name: "late", role: "admin", expiresAt: "2020-01-01T00:00:00Z" };
  return contentOf({ body: JSON.stringify(id === "createKey" ? key : spec), type: content.type });
}

/** `/fn/name/…`, or the function's own host. */
function aimAtFunction([name, method, byHost, content]: [string, string, boolean, Content]): Aim {
  return (grantee) => {
    const { headers, body } = contentOf(content);
    const host = { host: `${name}.kube-serverless.svc.cluster.local` };
    const request = {
      method,
      path: byHost ? "/api/v1/keys" : `/fn/${name}/deep?q=1`,
      headers: byHost ? { ...headers, ...host } : headers,
      body,
    };
    const verdict = FUNCTIONS[name]?.auth === "none" ? "open" : judge(grantee, "create", "functions/invoke", name);
    const isMissing = !(name in FUNCTIONS) && verdict !== "unauthenticated";
    return {
      what: byHost ? "host" : "fn",
      request,
      verdict: isMissing ? "miss" : verdict,
      twin: [name, "y-non"],
      ...(name in FUNCTIONS ? { callOf: name } : {}),
    };
  };
}

const PATHS = [
  ...NAMES.flatMap((name) => FUNCTIONS[name]!.paths.map((trigger) => ({ name, ...trigger }))),
  { name: "", path: MISSING.path },
];

/** The path of a trigger, by its methods and by others. */
function aimAtTrigger([trigger, method, content]: [{ name: string } & Trigger, string, Content]): Aim {
  return (grantee) => {
    const { headers, body } = contentOf(content);
    const path = trigger.path.replace(":id", "x").replace("*", "rest/of/it");
    const isTaken = trigger.methods?.includes(method === "HEAD" ? "GET" : method) ?? true;
    const auth = trigger.auth ?? FUNCTIONS[trigger.name]?.auth;
    const verdict = auth === "none" ? "open" : judge(grantee, "create", "functions/invoke", trigger.name);
    const mayKnow = auth === "none" || sees(grantee, trigger.name);
    const request = { method, path, headers, body };
    const twin: [string, string] = [trigger.path.slice(0, 8), "/path-yy"];
    if (trigger.name === "") return { what: "no trigger", request, verdict: grantee === undefined ? "unauthenticated" : "miss" };
    if (!isTaken && !mayKnow)
      return { what: "method of a hidden trigger", request, verdict: grantee === undefined ? "unauthenticated" : "hidden", twin };
    if (!isTaken) return { what: "method of a trigger", request, verdict: "miss" };
    return { what: "trigger", request, verdict, twin, callOf: trigger.name };
  };
}

function aimAtQueue([queue, publishes, content]: [string, boolean, Content]): Aim {
  const takers = NAMES.filter((name) => FUNCTIONS[name]!.queues.includes(queue));
  return (grantee) => {
    const resource = publishes ? "queues/messages" : "queues";
    const path = `/api/v1/queues/${queue}${publishes ? "/messages" : ""}`;
    const { headers, body } = publishes ? contentOf(content) : { headers: {}, body: undefined };
    const verdict = judgeQueue(grantee, publishes ? "create" : "get", resource, takers);
    return { what: "queue", request: { method: publishes ? "POST" : "GET", path, headers, body }, verdict, twin: [queue, "queue-y"] };
  };
}

/** A path of the document by any method: never more than the method of the document gives, and the same for what is missing. */
function aimByMethod([operation, method, name]: [(typeof OPERATIONS)[number], string, string]): Aim {
  return (grantee) => {
    const path = operation.path.replace("{name}", name).replace("{id}", MISSING.id).replace("{queue}", MISSING.queue);
    const request = { method, path, headers: { "if-match": '"another"' }, body: undefined };
    const isKnown = OPERATIONS.some(
      (known) => known.path === operation.path && known.method.toUpperCase() === (method === "HEAD" ? "GET" : method),
    );
    const isHidden = operation.path.includes("{name}") && !sees(grantee, name);
    return { what: "method", request, verdict: isKnown ? "any" : "miss", readOf: name, isHidden, twin: [name, "y-non"] };
  };
}

const ROOTS = [
  "/",
  "/fn/",
  "/api/",
  "/api/v1/",
  "/api/v1/functions/",
  "/api/v1/keys/",
  "/api/v1/queues/",
  "/path-b1/",
  "/docs/",
  "/console/",
  "/metrics/",
];

/** Paths that are none, and names that nobody gives. */
function aimAnywhere([root, rest, method]: [string, string, string]): Aim {
  return () => ({
    what: "anywhere",
    request: { method, path: encodeURI(`${root}${rest}`).replaceAll("%25", "%"), headers: {}, body: undefined },
    verdict: "any",
  });
}
