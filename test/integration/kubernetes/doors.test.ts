import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { type TestServer, waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, installPlatform, startGateway } from "./gateway-server.ts";

interface FunctionBody {
  name: string;
  code: string;
  generation: number;
  revision: number;
  minReplicas: number;
  status: { state: string; reason?: string; message?: string; revision: number; observedGeneration: number };
}

describe("functions by two doors", { skip: apiServerMissing() }, () => {
  let cluster: TestApiServer;
  let gateway: TestServer;
  before(async () => {
    cluster = await TestApiServer.start({ controllers: true });
    await installPlatform(cluster);
    gateway = await startGateway(cluster);
  });
  after(async () => {
    await gateway?.stop();
    await cluster.dispose();
  });

  const code = (text: string) => `exports.handler = async () => ({ statusCode: 200, body: ${JSON.stringify(text)} });`;

  function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const init = { method, headers: { "content-type": "application/json", ...headers } };
    return fetch(`${gateway.api}${path}`, body === undefined ? init : { ...init, body: JSON.stringify(body) });
  }

  async function read(name: string): Promise<FunctionBody> {
    return (await (await send("GET", `/functions/${name}`)).json()) as FunctionBody;
  }

  async function settled(name: string, state = "running"): Promise<FunctionBody> {
    return waitFor(`${name} to be ${state}`, async () => {
      const found = await read(name);
      return found.status?.state === state ? found : undefined;
    });
  }

  async function call(name: string): Promise<string> {
    const answer = (await (await send("POST", `/functions/${name}/invoke`, {})).json()) as { body?: string; error?: string };
    return answer.body ?? answer.error ?? "";
  }

  function kubectl(...args: string[]): Promise<string> {
    return cluster.kubectl(["--namespace", FUNCTIONS_NAMESPACE, ...args]);
  }

  function manifest(name: string, spec: object): object {
    return {
      apiVersion: "kube-serverless.io/v1alpha1",
      kind: "Function",
      metadata: { name, namespace: FUNCTIONS_NAMESPACE },
      spec: { runtime: "nodejs18", handler: "index.handler", ...spec },
    };
  }

  test("a function made by REST is a custom resource, with status, conditions, events and a name", async () => {
    const created = await send("POST", "/functions", { name: "rest", runtime: "nodejs18", handler: "index.handler", code: code("one") });
    assert.equal(created.status, 201);
    assert.deepEqual(Object.keys((await created.json()) as object).slice(0, 4), ["name", "runtime", "handler", "status"]);
    await settled("rest");
    assert.equal(await call("rest"), "one");
    await kubectl("wait", "fn/rest", "--for=condition=Ready", "--timeout=5s");
    const object = JSON.parse(await kubectl("get", "fn", "rest", "-o", "json", "--show-managed-fields"));
    assert.equal(object.spec.code, code("one"));
    assert.deepEqual(object.metadata.managedFields.map((field: { manager: string }) => field.manager).sort(), [
      "kube-serverless-api",
      "kube-serverless-owner",
    ]);
    assert.equal(object.status.endpoint, "rest.kube-serverless.svc.cluster.local");
    const service = JSON.parse(await kubectl("get", "service", "rest", "-o", "json"));
    assert.equal(service.spec.externalName, "kube-serverless.kube-serverless-system.svc.cluster.local");
    await waitFor("its events", async () => (await kubectl("events", "--for", "function/rest")).includes("Deployed"));
  });

  test("what no function can be called is 404, and no path to something else of the API server", async () => {
    for (const name of ["a%2Fstatus", "A", "a.b", "x".repeat(51), "kube-x"]) {
      for (const path of [`/functions/${name}`, `/functions/${name}/metrics`]) assert.equal((await send("GET", path)).status, 404, path);
      assert.equal((await send("DELETE", `/functions/${name}`)).status, 404, name);
      assert.equal((await send("POST", `/functions/${name}/invoke`, {})).status, 404, name);
    }
  });

  test("a function made by kubectl is called within a second, and seen by REST", async () => {
    await cluster.apply([manifest("declared", { code: code("by kubectl") })]);
    await settled("declared");
    assert.equal(await call("declared"), "by kubectl");
    assert.equal((await read("declared")).code, code("by kubectl"));
    await kubectl("wait", "fn/declared", "--for=condition=Ready", "--timeout=5s");
  });

  test("a change by kubectl is a new revision, one of its bounds is not; both are seen by REST", async () => {
    await cluster.apply([manifest("changed", { code: code("one") })]);
    await settled("changed");
    await cluster.apply([manifest("changed", { code: code("two") })]);
    await waitFor("the new code", async () => (await call("changed")) === "two");
    await settled("changed");
    await kubectl("patch", "fn", "changed", "--type=merge", "-p", '{"spec":{"maxReplicas":3}}');
    const found = await waitFor("the change", async () => {
      const body = await read("changed");
      return body.status.observedGeneration === 3 && body.status.state !== "deploying" ? body : undefined;
    });
    assert.deepEqual([found.generation, found.revision, found.status.revision, found.status.state], [3, 2, 2, "running"]);
  });

  test("a change by REST keeps what kubectl set elsewhere, and conflicts with its next server-side apply", async () => {
    await cluster.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(manifest("shared", { code: code("one") })));
    await settled("shared");
    await kubectl("annotate", "fn", "shared", "team=a");
    const put = await send("PUT", "/functions/shared", { runtime: "nodejs18", handler: "index.handler", code: code("two") });
    assert.equal(put.status, 200);
    await waitFor("the new code", async () => (await call("shared")) === "two");
    assert.match(await kubectl("get", "fn", "shared", "-o", "jsonpath={.metadata.annotations.team}"), /a/);
    await assert.rejects(
      cluster.kubectl(["apply", "--server-side", "-f", "-"], JSON.stringify(manifest("shared", { code: code("three") }))),
      /kube-serverless-api/,
    );
  });

  test("If-Match guards a PUT against a change by kubectl", async () => {
    await cluster.apply([manifest("guarded", { code: code("one") })]);
    await settled("guarded");
    const etag = (await send("GET", "/functions/guarded")).headers.get("etag") ?? "";
    await kubectl("patch", "fn", "guarded", "--type=merge", "-p", '{"spec":{"maxReplicas":3}}');
    const spec = { runtime: "nodejs18", handler: "index.handler", code: code("two") };
    assert.equal((await send("PUT", "/functions/guarded", spec, { "if-match": etag })).status, 412);
    const now = (await send("GET", "/functions/guarded")).headers.get("etag") ?? "";
    assert.equal((await send("PUT", "/functions/guarded", spec, { "if-match": now })).status, 200);
  });

  test("large code goes to a ConfigMap, and comes back whole", async () => {
    const large = `${code("large")}\n// ${"x".repeat(300_000)}`;
    assert.equal(
      (await send("POST", "/functions", { name: "large", runtime: "nodejs18", handler: "index.handler", code: large })).status,
      201,
    );
    await settled("large");
    assert.equal(await call("large"), "large");
    const object = JSON.parse(await kubectl("get", "fn", "large", "-o", "json"));
    assert.equal(object.spec.code, undefined);
    const configMap = JSON.parse(await kubectl("get", "configmap", object.spec.codeFrom.configMapKeyRef.name, "-o", "json"));
    assert.deepEqual(configMap.metadata.labels, { "kube-serverless.io/code": "true", "kube-serverless.io/made-by": "api" });
    assert.equal((await read("large")).code, large);
    assert.equal(
      (await send("PUT", "/functions/large", { runtime: "nodejs18", handler: "index.handler", code: code("small") })).status,
      200,
    );
    await waitFor("the small code", async () => (await call("large")) === "small");
    assert.equal(JSON.parse(await kubectl("get", "fn", "large", "-o", "json")).spec.codeFrom, undefined);
  });

  test("code in a ConfigMap needs its label, and a change of it is a new revision", async () => {
    const configMap = (text: string, labels: object) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "code", namespace: FUNCTIONS_NAMESPACE, labels },
      data: { "index.js": code(text) },
    });
    await cluster.apply([
      configMap("secret", {}),
      manifest("referring", { codeFrom: { configMapKeyRef: { name: "code", key: "index.js" } } }),
    ]);
    assert.equal((await settled("referring", "failed")).status.reason, "CodeMissing");
    await cluster.apply([configMap("one", { "kube-serverless.io/code": "true" })]);
    await settled("referring");
    assert.equal(await call("referring"), "one");
    await cluster.apply([configMap("two", { "kube-serverless.io/code": "true" })]);
    await waitFor("the change", async () => (await call("referring")) === "two");
    const { generation, revision } = await settled("referring");
    assert.deepEqual([generation, revision], [1, 2]);
  });

  test("a bad apply over a good revision fails, and the good one serves on, also after a restart of the gateway", async () => {
    await cluster.apply([manifest("kept", { code: code("good") })]);
    await settled("kept");
    await cluster.apply([manifest("kept", { code: "exports.handler = (" })]);
    const { status } = await settled("kept", "failed");
    assert.equal(status.reason, "SyntaxError");
    assert.equal(await call("kept"), "good");
    await gateway.stop();
    gateway = await startGateway(cluster);
    assert.equal(await call("kept"), "good");
    assert.match(await kubectl("get", "fn", "kept"), /False +SyntaxError/);
  });

  test("what CEL cannot see is said by the condition, and harms nothing", async () => {
    await cluster.apply([
      manifest("lost", { code: code("x"), triggers: [{ type: "cron", config: { schedule: "* * * * *", timezone: "Mars/Olympus" } }] }),
    ]);
    const { status } = await settled("lost", "failed");
    assert.equal(status.reason, "InvalidSpec");
    assert.match(status.message ?? "", /Mars\/Olympus/);
    await kubectl("wait", "fn/lost", "--for=condition=Ready=False", "--timeout=5s");
    await cluster.apply([
      manifest("lost", { code: code("found"), triggers: [{ type: "cron", config: { schedule: "* * * * *", timezone: "Europe/Kyiv" } }] }),
    ]);
    await settled("lost");
    assert.equal(await call("lost"), "found");
  });

  test("of two functions with one path the first keeps it; the other gets it when the first goes", async () => {
    const triggers = [{ type: "http", config: { path: "/contested" } }];
    await cluster.apply([manifest("first", { code: code("first"), triggers })]);
    await settled("first");
    await cluster.apply([manifest("another", { code: code("another"), triggers })]);
    const { status } = await settled("another", "failed");
    assert.deepEqual([status.reason, status.message], ["RouteConflict", "RouteConflict: path /contested is taken by function first"]);
    assert.equal(await (await fetch(`${gateway.url}/contested`)).text(), "first");
    assert.equal(
      (await send("POST", "/functions", { name: "third", runtime: "nodejs18", handler: "index.handler", code: code("x"), triggers }))
        .status,
      409,
    );
    await kubectl("delete", "fn", "first");
    await settled("another");
    assert.equal(await (await fetch(`${gateway.url}/contested`)).text(), "another");
  });

  test("a Service of others is left alone", async () => {
    await cluster.apply([
      { apiVersion: "v1", kind: "Service", metadata: { name: "taken", namespace: FUNCTIONS_NAMESPACE }, spec: { ports: [{ port: 80 }] } },
      manifest("taken", { code: code("taken") }),
    ]);
    await kubectl("wait", "fn/taken", "--for=condition=Ready=False", "--timeout=5s");
    await waitFor("the reason", async () => (await kubectl("get", "fn", "taken")).includes("NameTaken"));
    assert.equal(await call("taken"), "taken");
    assert.equal(await kubectl("get", "service", "taken", "-o", "jsonpath={.spec.type}"), "ClusterIP");
  });

  test("a deleted function is gone at both doors, and its name is free", async () => {
    for (const text of ["one", "two"]) {
      await send("POST", "/functions", { name: "passing", runtime: "nodejs18", handler: "index.handler", code: code(text) });
      await settled("passing");
      assert.equal(await call("passing"), text);
      assert.equal((await send("DELETE", "/functions/passing")).status, 204);
      assert.equal((await send("GET", "/functions/passing")).status, 404);
      await assert.rejects(kubectl("get", "fn", "passing"), /NotFound/);
    }
    await cluster.apply([manifest("passing", { code: code("three") })]);
    await settled("passing");
    await kubectl("delete", "fn", "passing");
    await waitFor("its end", async () => (await send("POST", "/functions/passing/invoke", {})).status === 404);
  });

  test("while the API server is away calls go on, changes are told to wait, and /ready says so without failing", async () => {
    await cluster.apply([manifest("warm", { code: code("warm"), minReplicas: 1 })]);
    await settled("warm");
    await cluster.kill("apiserver");
    try {
      assert.equal(await call("warm"), "warm");
      const refused = await send("POST", "/functions", { name: "late", runtime: "nodejs18", handler: "index.handler", code: code("x") });
      assert.equal(refused.status, 503);
      assert.equal(((await refused.json()) as { code: string }).code, "STORE_UNAVAILABLE");
      assert.equal((await send("POST", "/functions/unknown/invoke", {})).status, 503);
      const ready = await waitFor("degraded", async () => {
        const answer = await fetch(`${gateway.url}/ready`);
        const body = (await answer.json()) as { degraded?: string[] };
        return body.degraded?.includes("api-server") === true ? answer : undefined;
      });
      assert.equal(ready.status, 200);
    } finally {
      await cluster.resume();
    }
    await waitFor(
      "the next deploy",
      async () =>
        (await send("POST", "/functions", { name: "late", runtime: "nodejs18", handler: "index.handler", code: code("late") })).status ===
        201,
    );
    await settled("late");
    assert.equal(await call("late"), "late");
  });

  test("probes and metrics have a port of their own", async () => {
    const { systemPort } = gateway as TestServer & { systemPort: number };
    const text = await (await fetch(`http://127.0.0.1:${systemPort}/metrics`)).text();
    assert.match(text, /kube_serverless_/);
    assert.equal((await fetch(`http://127.0.0.1:${systemPort}/ready`)).status, 200);
    assert.equal((await fetch(`http://127.0.0.1:${systemPort}/api/v1/functions`)).status, 404);
  });
});
