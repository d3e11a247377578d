import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Platform } from "../../conformance/support/platform.ts";
import { waitFor } from "../../support/server.ts";
import { chartFolder } from "../helm.ts";
import { CallStream, describeFailures } from "../support/call-stream.ts";
import { apply, FUNCTIONS_NAMESPACE, helmOnCluster, kubectl, list, type Pod, readyGateways, SYSTEM_NAMESPACE } from "../support/cluster.ts";
import { install, publicOrigin, RELEASE, removeAll, untilWhole, valuesForTests } from "../support/platform.ts";

const WAIT = ["--wait", "--timeout=4m"];
const CODE = 'exports.handler = async () => ({ statusCode: 200, body: "hello" });';

async function connect(): Promise<Platform> {
  return new Platform(await publicOrigin(), undefined, false);
}

async function poolSizes(): Promise<Record<string, number>> {
  const pools = await list("deployments", FUNCTIONS_NAMESPACE, "kube-serverless.io/pool");
  return Object.fromEntries(pools.map(({ metadata, spec }) => [metadata.name, spec.replicas as number]));
}

describe("helm", () => {
  before(async () => {
    await removeAll();
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: SYSTEM_NAMESPACE, labels } });
  });
  after(() => install(...WAIT));

  test("install: a bare cluster has a platform that answers, with its gateways on different nodes", async () => {
    const said = await install(...WAIT);
    assert.match(said, /WARNING: the API has no authentication yet/);
    const gateways = await untilWhole();
    assert.equal(new Set(gateways.map(({ spec }) => spec.nodeName)).size, gateways.length);
    const platform = await connect();
    await platform.deploy({ name: "kept", code: CODE });
    assert.equal((await platform.call("kept")).text, "hello");
  });

  test("install: a second release fails and says which one is there", async () => {
    const second = ["install", "second", chartFolder, "--namespace", "elsewhere", "--create-namespace", ...valuesForTests()];
    await assert.rejects(helmOnCluster(second), /already, as release "kube-serverless" in namespace "kube-serverless-system"/);
  });

  test("upgrade and rollback: every gateway is another one, no call fails, and pools keep their size", async () => {
    const origin = await publicOrigin();
    const stream = new CallStream({ origins: () => [origin], path: "/fn/kept", callsPerSecond: 20 });
    const sizes = await poolSizes();
    const startMs = performance.now();
    let old = (await readyGateways()).map(({ metadata }) => metadata.uid);
    const steps = [
      () => install(...WAIT, "--set-string=server.podAnnotations.step=upgraded"),
      () => helmOnCluster(["rollback", RELEASE, "--namespace", SYSTEM_NAMESPACE, ...WAIT]),
    ];
    for (const step of steps) {
      await step();
      const gateways = (await untilWhole()).map(({ metadata }) => metadata.uid);
      assert.deepEqual(
        gateways.filter((uid) => old.includes(uid)),
        [],
      );
      old = gateways;
    }
    const outcomes = await stream.stop();
    assert.equal(stream.failures.length, 0, describeFailures(outcomes, startMs));
    assert.deepEqual(await poolSizes(), sizes);
  });

  test("uninstall: nothing runs any more, functions stay, and an install serves them again", async () => {
    await helmOnCluster(["uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, ...WAIT]);
    await waitFor("no pod", async () => (await list<Pod>("pods", FUNCTIONS_NAMESPACE)).length === 0, 60_000);
    assert.deepEqual(await list<Pod>("pods", SYSTEM_NAMESPACE), []);
    const left = JSON.parse(await kubectl(["get", "function", "kept", "--namespace", FUNCTIONS_NAMESPACE, "--output=json"])) as {
      status: { replicas: number };
    };
    assert.equal(left.status.replicas, 0);
    await install(...WAIT);
    await untilWhole();
    const platform = await connect();
    assert.equal((await platform.call("kept")).text, "hello");
    await platform.delete("kept");
  });
});
