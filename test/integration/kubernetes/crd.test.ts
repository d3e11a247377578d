import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import {
  API_VERSION,
  buildCustomResourceDefinitions,
  KsError,
  parseFunctionSpec,
  type Problem,
} from "../../../packages/contracts/src/index.ts";
import { ApiError } from "../../../packages/server/src/kubernetes/api-error.ts";
import type { KubernetesObject, Resource } from "../../../packages/server/src/kubernetes/resource.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { installDefinitions, useApiServer } from "./support.ts";

const functions: Resource = { apiVersion: API_VERSION, kind: "Function", plural: "functions", namespace: "default" };

interface Given extends KubernetesObject {
  spec: object;
}

/** What CEL cannot say, or not within its budget: the server says it, by the condition Ready. */
const BEYOND_CEL = [
  /^is no time zone/, // those with a letter first
  /has the parameter .* twice$/,
  /^repeats triggers/, // paths that differ in their parameters' names alone
  /well-formed|broken Unicode/, // Go replaces halves of surrogate pairs before anybody sees them
  /bytes of JSON/,
];

describe("the Function custom resource", { skip: apiServerMissing() }, () => {
  const api = useApiServer(installDefinitions);

  /** Undefined when the API server takes it, else what it says. */
  async function refusal(name: string, spec: object): Promise<string | undefined> {
    try {
      await api.client.create<Given>(functions, { metadata: { name }, spec }, { dryRun: "All", fieldValidation: "Strict" });
      return undefined;
    } catch (error) {
      if (error instanceof ApiError && (error.status === 422 || error.status === 400)) return error.message;
      throw error;
    }
  }

  function problems(name: string, spec: object): readonly Problem[] {
    try {
      parseFunctionSpec({ name, ...spec });
      return [];
    } catch (error) {
      return (error as KsError).details as Problem[];
    }
  }

  async function compare(name: string, spec: object): Promise<void> {
    const found = problems(name, spec);
    const said = await refusal(name, spec);
    const shown = `${JSON.stringify({ name, spec })}\nparser: ${JSON.stringify(found)}\nAPI server: ${said}`;
    if (found.length === 0) assert.equal(said, undefined, shown);
    else if (!found.every(({ message }) => BEYOND_CEL.some((known) => known.test(message)))) assert.notEqual(said, undefined, shown);
  }

  const good = { runtime: "nodejs18", handler: "index.handler", code: "exports.handler = async () => 1;" };

  test("has columns, a short name and a status that a spec cannot touch", async () => {
    await api.client.create<Given & { status: object }>(functions, {
      metadata: { name: "shown" },
      spec: good,
      status: { state: "running" },
    });
    const listed = await api.server.kubectl(["get", "fn", "--namespace", "default"]);
    assert.match(listed, /^NAME +RUNTIME +READY +REASON +REPLICAS +REVISION +AGE\nshown +nodejs18 /);
    const found = await api.client.get<Given & { status?: object }>(functions, "shown");
    assert.equal(found.status, undefined);
    assert.deepEqual(found.spec, {
      ...good,
      minReplicas: 0,
      maxReplicas: 10,
      environment: {},
      triggers: [],
      timeout: 30,
      memory: 256,
      network: "outbound",
    });
  });

  test("keeps a good revision as it is", async () => {
    const revisions: Resource = { ...functions, kind: "FunctionRevision", plural: "functionrevisions" };
    const spec = { function: "shown", revision: 1, generation: 1, settings: "{}", code: "" };
    await api.client.create<Given>(revisions, { metadata: { name: "shown-1" }, spec });
    await assert.rejects(api.client.merge(revisions, "shown-1", { spec: { revision: 2 } }), /a revision never changes/);
  });

  test("takes either code or a reference to it, or both", async () => {
    const { code, ...rest } = good;
    const codeFrom = { configMapKeyRef: { name: "code", key: "index.js" } };
    assert.equal(await refusal("referred", { ...rest, codeFrom }), undefined);
    assert.equal(await refusal("referred", { ...rest, codeFrom, code }), undefined);
    assert.match((await refusal("referred", rest)) ?? "", /code or codeFrom is required/);
  });

  const http = (path: string, methods?: string[]) => ({ type: "http", config: { path, ...(methods === undefined ? {} : { methods }) } });
  const cron = (schedule: string, timezone?: string) => ({
    type: "cron",
    config: { schedule, ...(timezone === undefined ? {} : { timezone }) },
  });

  for (const [what, spec] of Object.entries<object>({
    "nothing wrong": good,
    "a handler without a dot": { ...good, handler: "handler" },
    "a Python handler without a dot": { ...good, runtime: "python39", handler: "handler" },
    "a handler that climbs": { ...good, handler: "..index" },
    "more at least than at most": { ...good, minReplicas: 3, maxReplicas: 2 },
    "more at least than the default at most": { ...good, minReplicas: 11 },
    "an unknown field": { ...good, colour: "red" },
    "a wrong type": { ...good, memory: "256" },
    "a part of a MiB": { ...good, memory: 256.5 },
    "a part of a second": { ...good, timeout: 1.5 },
    "empty code": { ...good, code: "" },
    "1 MiB of code": { ...good, code: "ü".repeat(524_288) },
    "too much code in bytes": { ...good, code: "ü".repeat(524_289) },
    "a variable of the loader": { ...good, environment: { LD_PRELOAD: "x" } },
    "a variable of Go": { ...good, environment: { GOGC: "1" } },
    "a variable that only begins like one of Go": { ...good, environment: { GOGCX: "1" } },
    "a bad variable name": { ...good, environment: { "1A": "x" } },
    "a NUL in a value": { ...good, environment: { A: "x\0" } },
    "64 KiB of variables": { ...good, environment: { A: "x".repeat(65_535) } },
    "more than 64 KiB of variables": { ...good, environment: { A: "x".repeat(65_536) } },
    "more than 64 KiB of variables by their bytes": { ...good, environment: { A: "ü".repeat(33_000), B: "" } },
    "too many variables": { ...good, environment: Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`A${index}`, ""])) },
    "33 triggers": { ...good, triggers: Array.from({ length: 33 }, (_, index) => http(`/${index}`)) },
    "an unknown trigger": { ...good, triggers: [{ type: "smtp", config: {} }] },
    "a trigger without its path": { ...good, triggers: [{ type: "http", config: {} }] },
    "a trigger with another's field": { ...good, triggers: [{ type: "http", config: { path: "/a", queue: "a" } }] },
    "an unknown field of a trigger": { ...good, triggers: [{ type: "http", config: { path: "/a", colour: "red" } }] },
    "the same queue twice": { ...good, triggers: [1, 2].map(() => ({ type: "queue", config: { queue: "a" } })) },
    "one queue at two exchanges": {
      ...good,
      triggers: ["a", "b"].map((exchange) => ({ type: "queue", config: { queue: "a", exchange } })),
    },
    "a queue of RabbitMQ's own": { ...good, triggers: [{ type: "queue", config: { queue: "amq.a" } }] },
    "a queue too long in bytes": { ...good, triggers: [{ type: "queue", config: { queue: "ü".repeat(101) } }] },
    "a control character in a key": { ...good, triggers: [{ type: "queue", config: { queue: "a", routingKey: "a\n" } }] },
    "the same schedule twice, UTC said once": { ...good, triggers: [cron("* * * * *"), cron("* * * * *", "UTC")] },
    "an offset for a zone": { ...good, triggers: [cron("* * * * *", "+02:00")] },
    "a body of any kind": {
      ...good,
      triggers: [null, 1, "a", [1], { a: null }].map((body, minute) => ({ type: "cron", config: { schedule: `${minute} * * * *`, body } })),
    },
    "an unknown method": { ...good, triggers: [http("/a", ["TRACE"])] },
    "no method": { ...good, triggers: [http("/a", [])] },
  })) {
    test(`agrees with the parser about ${what}`, () => compare("agreed", spec));
  }

  for (const name of ["a", "a-b", "a".repeat(50), "a".repeat(51), "kube-a", "kubea", "1a", "a-", "A", "a.b"]) {
    test(`agrees with the parser about the name ${name}`, () => compare(name, good));
  }

  test("agrees with the parser about any path", async () => {
    const piece = fc.constantFrom(
      ..."/ / / : * a b. .. %2e %2E %2F %61pi api fn health %41 :id :a_1 :1 ? # \\ %5c %00 %7f %zz % %C3%BC %C3 %E2%82%AC %ED%A0%80 %F0%9F%9A%80 ü \u{1f680} _ ~ \u0001 __proto__".split(
        " ",
      ),
    );
    const path = fc.array(piece, { maxLength: 6 }).map((pieces) => `/${pieces.join("")}`);
    await fc.assert(
      fc.asyncProperty(fc.oneof(path, fc.string({ maxLength: 12 })), (each) => compare("agreed", { ...good, triggers: [http(each)] })),
      { seed: 7, numRuns: 600 },
    );
  });

  test("agrees with the parser about any spec", async () => {
    const text = fc.string({ maxLength: 5 });
    // To Kubernetes, null where a default is known is a field left out.
    const anything = fc.jsonValue({ maxDepth: 1 }).filter((value) => !JSON.stringify(value).includes("null"));
    const some = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
      fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: anything });
    const trigger = fc.oneof(
      fc.record({
        type: fc.constant("http"),
        config: fc.record({ path: fc.constantFrom("/a", "/b", "/c/*"), methods: fc.subarray(["GET", "POST"]) }, { requiredKeys: ["path"] }),
      }),
      fc.record({
        type: fc.constant("cron"),
        config: fc.record(
          {
            schedule: fc.constantFrom("* * * * *", "@hourly"),
            timezone: fc.constantFrom("UTC", "Europe/Kyiv", "Nowhere"),
            body: fc.jsonValue(),
          },
          { requiredKeys: ["schedule"] },
        ),
      }),
      fc.record({
        type: fc.constant("queue"),
        config: fc.record(
          { queue: fc.constantFrom("a", "b", "amq.c"), concurrency: fc.integer({ min: 0, max: 3 }) },
          { requiredKeys: ["queue"] },
        ),
      }),
    );
    const spec = fc.record(
      {
        runtime: some(fc.constantFrom("nodejs18", "python39", "go119", "nodejs19")),
        handler: some(fc.constantFrom("index.handler", "Handler", "a..b", "")),
        code: some(fc.string({ minLength: 1 })),
        environment: some(fc.dictionary(fc.constantFrom("A", "B_1", "LD_X", "NODE_OPTIONS", "a b"), text)),
        minReplicas: some(fc.integer({ min: -1, max: 12 })),
        maxReplicas: some(fc.integer({ min: 0, max: 12 })),
        triggers: some(fc.array(some(trigger), { maxLength: 3 })),
        timeout: some(fc.double({ min: 0, max: 1000, noNaN: true })),
        network: some(fc.constantFrom("outbound", "none", "inbound")),
      },
      { requiredKeys: ["runtime", "handler", "code"] },
    );
    await fc.assert(
      fc.asyncProperty(spec, (each) => compare("agreed", each)),
      { seed: 11, numRuns: 600 },
    );
  });
});

test("every definition has a schema of its own", () => {
  assert.deepEqual([...buildCustomResourceDefinitions().keys()], ["functions.yaml", "functionrevisions.yaml", "cronrecords.yaml"]);
});
