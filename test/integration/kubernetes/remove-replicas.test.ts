import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { removeReplicas } from "../../../packages/server/src/platform/remove-replicas.ts";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { helmMissing, renderChart } from "../../cluster/helm.ts";

const SYSTEM = "kube-serverless-system";
const FUNCTIONS = "kube-serverless";

function buildPod(name: string, labels: Readonly<Record<string, string>>): object {
  const containers = [{ name: "main", image: "docker.io/library/none:1" }];
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: FUNCTIONS, labels }, spec: { containers } };
}

describe("before the chart is uninstalled", { skip: apiServerMissing() ?? helmMissing() ?? false }, () => {
  let server: TestApiServer;
  before(async () => {
    server = await TestApiServer.start({ controllers: true });
    for (const namespace of [SYSTEM, FUNCTIONS]) await server.createNamespace(namespace);
    const manifests = await renderChart();
    const isWanted = (kind: string): boolean => kind !== "Namespace";
    const ready = manifests.filter(({ kind }) => isWanted(kind));
    await server.apply(ready.filter(({ kind }) => kind === "CustomResourceDefinition"));
    await server.kubectl(["wait", "--for=condition=Established", "customresourcedefinitions", "--all"]);
    await server.apply(ready);
  });
  after(() => server.dispose());

  test("gateways and replicas end, with no more rights than the chart gives; functions stay and tell of no replica", async () => {
    const spec = { runtime: "nodejs18", handler: "index.handler", code: "exports.handler = async () => 1;" };
    const metadata = { name: "hello", namespace: FUNCTIONS };
    await server.apply([{ apiVersion: "kube-serverless.io/v1alpha1", kind: "Function", metadata, spec }]);
    const status = JSON.stringify({ status: { state: "running", replicas: 1, readyReplicas: 1 } });
    await server.kubectl([
      "patch",
      "function",
      "hello",
      "--namespace",
      FUNCTIONS,
      "--subresource=status",
      "--type=merge",
      "--patch",
      status,
    ]);
    await server.apply([buildPod("claimed", { "kube-serverless.io/function-uid": "1" }), buildPod("of-somebody-else", {})]);

    const messages: string[] = [];
    await removeReplicas({
      clock: systemClock,
      functionsNamespace: FUNCTIONS,
      systemNamespace: SYSTEM,
      gatewayService: "kube-serverless",
      kubeconfigFile: await server.kubeconfigOf(SYSTEM, "kube-serverless-uninstall"),
      apiServerHost: undefined,
      apiServerPort: 443,
      log: (message) => messages.push(message),
    });

    assert.deepEqual(messages, ["the gateways have ended", "replicas told to end: 1"]);
    const pods = await server.kubectl(["get", "pods", "--namespace", FUNCTIONS, "--output=name", "--selector=!kube-serverless.io/pool"]);
    assert.equal(pods.trim(), "pod/of-somebody-else");
    const replicas = ["get", "deployment", "kube-serverless", "--namespace", SYSTEM, "--output=jsonpath={.spec.replicas}"];
    assert.equal(await server.kubectl(replicas), "0");
    const left = ["get", "function", "hello", "--namespace", FUNCTIONS, "--output=jsonpath={.status.replicas} {.status.state}"];
    assert.equal(await server.kubectl(left), "0 running");
  });
});
