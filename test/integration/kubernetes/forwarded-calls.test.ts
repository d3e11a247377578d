import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { type TestServer, waitFor } from "../../support/server.ts";
import { installPlatform, startGateway } from "./gateway-server.ts";

describe("several gateways of one cluster", { skip: apiServerMissing() }, () => {
  let cluster: TestApiServer;
  let gateways: TestServer[] = [];
  before(async () => {
    cluster = await TestApiServer.start();
    await installPlatform(cluster);
    gateways = await Promise.all(
      ["127.0.0.13", "127.0.0.14"].map((address, index) => startGateway(cluster, { name: `gateway-${index}`, address })),
    );
  });
  after(async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop()));
    await cluster.dispose();
  });

  const code = (text: string) => `let calls = 0;
exports.handler = async ({ path }) => {
  if (path === "/slow") await new Promise((resolve) => setTimeout(resolve, 300));
  return { statusCode: 200, body: ${JSON.stringify(text)} + ++calls };
};`;

  const send = (gateway: TestServer, method: string, path: string, body?: unknown): Promise<Response> => {
    const init = { method, headers: { "content-type": "application/json" } };
    return fetch(`${gateway.api}${path}`, body === undefined ? init : { ...init, body: JSON.stringify(body) });
  };

  async function readyMembers(gateway: TestServer): Promise<string[]> {
    return ((await (await send(gateway, "GET", "/ready")).json()) as { gateways: string[] }).gateways;
  }

  async function deploy(gateway: TestServer, name: string, spec: object = {}): Promise<void> {
    const body = { name, runtime: "nodejs18", handler: "index.handler", code: code(name), ...spec };
    assert.equal((await send(gateway, "POST", "/functions", body)).status, 201);
  }

  async function untilRunning(gateway: TestServer, name: string): Promise<void> {
    await waitFor(`${name} to run`, async () => {
      const { status } = (await (await send(gateway, "GET", `/functions/${name}`)).json()) as { status: { state: string } };
      return status.state === "running";
    });
  }

  async function call(gateway: TestServer, name: string, path = ""): Promise<{ status: number; text: string; headers: Headers }> {
    const response = await fetch(`${gateway.url}/fn/${name}${path}`);
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  test("know each other by their pods and the key that they share", async () => {
    for (const gateway of gateways) await waitFor("both", async () => (await readyMembers(gateway)).join() === "gateway-0,gateway-1");
    const keys = JSON.parse(
      await cluster.kubectl(["get", "configmap", "kube-serverless-gateway-keys", "-n", "kube-serverless", "-o", "json"]),
    );
    assert.equal(JSON.parse(keys.data["keys.json"]).keys.length, 1);
  });

  test("a function has one owner: its calls count on, whichever gateway they come to", async () => {
    const [first, second] = gateways;
    assert.ok(first && second);
    for (const name of ["one", "two", "three", "four"]) {
      await deploy(first, name, { maxReplicas: 1 });
      await untilRunning(second, name);
      const seen: string[] = [];
      for (const gateway of [first, second, first, second]) {
        const { status, text, headers } = await call(gateway, name);
        assert.equal(status, 200, text);
        assert.equal(headers.get("x-function-revision"), "1");
        seen.push(text);
      }
      assert.deepEqual(
        seen,
        [1, 2, 3, 4].map((count) => `${name}${count}`),
      );
    }
  });

  test("metrics and scaling are told by the owner behind either gateway", async () => {
    for (const gateway of gateways) {
      const metrics = (await (await send(gateway, "GET", "/functions/one/metrics")).json()) as { invocations: number };
      assert.equal(metrics.invocations, 4);
      const scaling = (await (await send(gateway, "GET", "/functions/one/scaling")).json()) as { replicas: number };
      assert.equal(scaling.replicas, 1);
    }
  });

  async function logOf(gateway: TestServer, name: string): Promise<string[]> {
    const entries = (await (await send(gateway, "GET", `/functions/${name}/logs`)).json()) as { message: string }[];
    return entries.map(({ message }) => message);
  }

  test("what functions print is read behind either gateway", async () => {
    const [first, second] = gateways;
    assert.ok(first && second);
    for (const name of ["talks-1", "talks-2", "talks-3"]) {
      const talking = `exports.handler = async () => { console.log("said by ${name}"); return "ok"; };`;
      await deploy(first, name, { code: talking });
      await untilRunning(first, name);
      assert.equal((await call(second, name)).status, 200);
      for (const gateway of gateways) await waitFor("the line", async () => (await logOf(gateway, name)).join() === `said by ${name}`);
    }
  });

  test("a gateway that ends takes no call with it", async () => {
    const [first, second] = gateways;
    assert.ok(first && second);
    const outcomes: Promise<{ status: number; text: string }>[] = [];
    const over = new AbortController();
    const flow = (async () => {
      for (let i = 0; i < 2000 && !over.signal.aborted; i++) {
        outcomes.push(call(first, ["one", "two", "three", "four"][i % 4]!, i % 10 === 0 ? "/slow" : ""));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 500));
    await second.stop();
    assert.deepEqual(await readyMembers(first), ["gateway-0"]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    over.abort();
    await flow;
    const failed = (await Promise.all(outcomes)).filter(({ status }) => status !== 200);
    assert.deepEqual(failed, []);
    assert.ok(outcomes.length > 50);
    const counted = await Promise.all(
      ["one", "two", "three", "four"].map(async (name) => {
        const { invocations } = (await (await send(first, "GET", `/functions/${name}/metrics`)).json()) as { invocations: number };
        return invocations;
      }),
    );
    assert.equal(
      counted.reduce((sum, count) => sum + count, 0),
      outcomes.length + 16,
      "each call is counted once, wherever it ran",
    );
    for (const name of ["talks-1", "talks-2", "talks-3"])
      assert.deepEqual(await logOf(first, name), [`said by ${name}`], "its log is there");
  });
});
