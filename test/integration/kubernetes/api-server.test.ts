import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { waitFor } from "../../support/server.ts";

const missing = apiServerMissing();

const POD = `
apiVersion: v1
kind: Pod
metadata: { name: waiting, namespace: functions }
spec: { containers: [{ name: main, image: "docker.io/library/none:1" }] }
`;

describe("the API server for tests", { skip: missing ?? false }, () => {
  let server: TestApiServer;
  before(async () => (server = await TestApiServer.start({ controllers: true })));
  after(() => server.dispose());

  test("keeps what is applied over a crash of all of it", async () => {
    await server.createNamespace("functions");
    await server.apply(POD);
    await server.kill("apiserver");
    await assert.rejects(server.kubectl(["get", "pods", "--namespace", "functions"]));
    await server.kill("etcd");
    await server.resume();
    assert.match(await server.kubectl(["get", "pods", "--namespace", "functions"]), /waiting .*Pending/);
  });

  test("lets a service account do what its role says and nothing else", async () => {
    await server.createNamespace("roles");
    await server.kubectl(["create", "role", "reader", "--verb=get,list", "--resource=configmaps", "--namespace=roles"]);
    await server.kubectl(["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=roles:default", "--namespace=roles"]);
    const kubeconfig = await server.kubeconfigOf("roles", "default");
    await server.kubectl(["get", "configmaps", "--namespace=roles", "--kubeconfig", kubeconfig]);
    await assert.rejects(
      server.kubectl(["get", "secrets", "--namespace=roles", "--kubeconfig", kubeconfig]),
      /cannot list resource "secrets"/,
    );
  });

  test("makes the pods of a Deployment, and removes them with it", async () => {
    await server.createNamespace("pools");
    await server.kubectl(["create", "deployment", "pool", "--image=docker.io/library/none:1", "--replicas=2", "--namespace=pools"]);
    const pods = async (): Promise<number> =>
      (await server.kubectl(["get", "pods", "--namespace=pools", "-o=name"])).split("\n").length - 1;
    await waitFor("two pods", async () => (await pods()) === 2);
    await server.kubectl(["delete", "deployment", "pool", "--namespace=pools"]);
    // Nothing schedules them, so nothing has to end before they are gone.
    await waitFor("no pods", async () => (await pods()) === 0);
  });
});

test("leaves neither a process nor a folder behind", { skip: missing ?? false }, async () => {
  const server = await TestApiServer.start();
  await server.dispose();
  assert.equal(existsSync(server.folder), false);
  await assert.rejects(fetch(`${server.etcdUrl}/health`));
});
