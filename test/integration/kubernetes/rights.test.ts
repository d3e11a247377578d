import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { projectFolder, type TestServer, waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, nextAddress, startGateway, SYSTEM_NAMESPACE } from "./gateway-server.ts";

describe("a gateway with the rights that the manifests give", { skip: apiServerMissing() }, () => {
  let cluster: TestApiServer;
  let gateway: TestServer;
  before(async () => {
    cluster = await TestApiServer.start({ controllers: true });
    const manifests = readFileSync(join(projectFolder, "deploy/manifests/kube-serverless.yaml"), "utf8");
    // Custom resources need their definitions to be served first.
    await waitFor("the manifests to be taken", () => cluster.apply(manifests).catch(() => undefined), 30_000);
    const kubeconfig = await cluster.kubeconfigOf(SYSTEM_NAMESPACE, "kube-serverless");
    gateway = await startGateway(cluster, { name: "gateway-1", address: nextAddress(), kubeconfig });
  });
  after(async () => {
    await gateway?.stop();
    await cluster.dispose();
  });

  test("deploys, changes, calls and deletes functions, and is refused nothing", async () => {
    const send = (method: string, path: string, body?: object): Promise<Response> =>
      fetch(`${gateway.api}${path}`, {
        method,
        headers: { "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const spec = (text: string, more: object = {}): object => ({
      name: "allowed",
      runtime: "nodejs18",
      handler: "index.handler",
      code: `exports.handler = async () => ({ statusCode: 200, body: "${text}" }); // ${"x".repeat(text === "large" ? 200_000 : 1)}`,
      ...more,
    });
    const untilRunning = (revision: number): Promise<unknown> =>
      waitFor("it to run", async () => {
        const { status } = (await (await send("GET", "/functions/allowed")).json()) as { status?: { state: string; revision: number } };
        return status?.state === "running" && status.revision === revision;
      });
    assert.equal((await send("POST", "/functions", spec("large"))).status, 201);
    await untilRunning(1);
    assert.equal(
      (await send("PUT", "/functions/allowed", spec("small", { triggers: [{ type: "cron", config: { schedule: "* * * * * *" } }] })))
        .status,
      200,
    );
    await untilRunning(2);
    assert.equal(await (await fetch(`${gateway.url}/fn/allowed`)).text(), "small");
    await waitFor("its cron", async () =>
      (await cluster.kubectl(["get", "cronrecords", "-n", FUNCTIONS_NAMESPACE, "-o", "json"])).includes("succeeded"),
    );
    await waitFor("its events", async () =>
      (await cluster.kubectl(["events", "-n", FUNCTIONS_NAMESPACE, "--for", "function/allowed"])).includes("ScaledFromZero"),
    );
    assert.equal((await send("DELETE", "/functions/allowed")).status, 204);
    const refused = gateway.log.filter((line) => JSON.stringify(line).includes("forbidden"));
    assert.deepEqual(refused, []);
  });

  test("makes the signing key once, and tells pods its public half alone", async () => {
    const secret = JSON.parse(await cluster.kubectl(["get", "secret", "kube-serverless-signing", "-n", SYSTEM_NAMESPACE, "-o", "json"]));
    assert.match(Buffer.from(secret.data["signing.pem"], "base64").toString(), /^-----BEGIN PRIVATE KEY/);
    const told = JSON.parse(
      await cluster.kubectl(["get", "configmap", "kube-serverless-gateway-keys", "-n", FUNCTIONS_NAMESPACE, "-o", "json"]),
    );
    const { keys } = JSON.parse(told.data["keys.json"]) as { keys: object[] };
    assert.deepEqual(
      keys.map((key) => Object.keys(key).sort()),
      [["e", "kty", "n"]],
    );
  });
});
