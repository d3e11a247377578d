import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { after, before, describe, test } from "node:test";
import {
  apply,
  FUNCTIONS_NAMESPACE,
  isForeignCluster,
  kubectl,
  list,
  type Pod,
  readyGateways,
  SYSTEM_NAMESPACE,
} from "../support/cluster.ts";
import { createFreePod, createReplicaLikePod, OWN_PORT, type Target, tryFromHere, tryFromPod, untilReady } from "../support/reach.ts";

/** Addresses of nobody (RFC 5737, and where clouds have their metadata), which the test lends to node 1. */
const PUBLIC: Target = { host: "203.0.113.10", port: 443 };
const METADATA: Target = { host: "169.254.169.254", port: 80 };
const OUTSIDE = [PUBLIC, METADATA];

const skip = isForeignCluster ? "needs a cluster whose nodes can be given addresses" : false;

// Real attempts from real pods: what is open to one is what proves that something listens where another hears nothing.
describe("network policies", { skip }, () => {
  const servers: Server[] = [];
  let outbound: Pod;
  let none: Pod;
  let victim: Pod;
  let free: Pod;
  let gateways: Pod[];

  before(async () => {
    for (const { host, port } of OUTSIDE) {
      execFileSync("ip", ["address", "replace", `${host}/32`, "dev", "node0"]);
      const server = createServer((socket) => socket.on("error", () => undefined).end("x"));
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(port, host, resolve));
    }
    // The first on this node, which may reach its probes and frames as their kubelet would.
    gateways = (await readyGateways()).sort((a, b) => (a.spec.nodeName! < b.spec.nodeName! ? -1 : 1));
    await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "somebody" } });
    await createReplicaLikePod("try-outbound", "outbound", "node2");
    await createReplicaLikePod("try-none", "none", "node1");
    // On this node, which alone may reach it as its kubelet would.
    await createReplicaLikePod("try-victim", "outbound", "node1");
    const [pool] = await list("deployments", FUNCTIONS_NAMESPACE, "kube-serverless.io/runtime=nodejs18");
    await createFreePod("try-free", "somebody", pool!["spec"].template.spec.containers[0].image, "node2");
    outbound = await untilReady("try-outbound", FUNCTIONS_NAMESPACE);
    none = await untilReady("try-none", FUNCTIONS_NAMESPACE);
    victim = await untilReady("try-victim", FUNCTIONS_NAMESPACE);
    free = await untilReady("try-free", "somebody");
  });

  after(async () => {
    for (const server of servers) server.close();
    for (const { host } of OUTSIDE) execFileSync("ip", ["address", "delete", `${host}/32`, "dev", "node0"]);
    await kubectl(["delete", "namespace", "somebody", "--ignore-not-found"]);
    for (const name of ["try-outbound", "try-none", "try-victim"]) {
      await kubectl(["delete", "pod", name, "--namespace", FUNCTIONS_NAMESPACE, "--ignore-not-found"]);
    }
  });

  async function serviceOf(name: string, namespace: string): Promise<string> {
    return kubectl(["get", "service", name, "--namespace", namespace, "--output=jsonpath={.spec.clusterIP}"]);
  }

  test("functions reach names, gateways' public port and the Internet; a function without a network reaches nothing", async () => {
    const [gateway] = gateways;
    const apiServer = await serviceOf("kubernetes", "default");
    const rows: [name: string, target: Target, outbound: boolean, free: boolean][] = [
      ["a gateway's public port", { host: gateway!.status.podIP!, port: 8080 }, true, true],
      ["the Service of functions' names", { host: await serviceOf("kube-serverless", SYSTEM_NAMESPACE), port: 80 }, true, true],
      ["names", { host: await serviceOf("kube-dns", "kube-system"), port: 53 }, true, true],
      ["the Internet", PUBLIC, true, true],
      ["a metadata address", METADATA, false, true],
      ["the API server by its Service", { host: apiServer, port: 443 }, false, true],
      ["the API server by its node", { host: "10.200.0.1", port: 6443 }, false, true],
      ["another node's kubelet", { host: "10.200.0.1", port: 10_250 }, false, true],
      ["its own node's kubelet", { host: "10.200.0.2", port: 10_250 }, false, true],
      ["a gateway's probes", { host: gateway!.status.podIP!, port: 9090 }, false, true],
      ["a gateway's frames", { host: gateway!.status.podIP!, port: 8081 }, false, false],
      ["another replica's frames", { host: victim.status.podIP!, port: 7070 }, false, false],
      ["another replica's own server", { host: victim.status.podIP!, port: OWN_PORT }, false, false],
    ];
    const targets = rows.map(([, target]) => target);
    const [here, byFree, byOutbound, byNone] = await Promise.all([
      tryFromHere(targets),
      tryFromPod(free, "replica", targets),
      tryFromPod(outbound, "replica", targets),
      tryFromPod(none, "replica", targets),
    ]);
    const seen = rows.map(([name], index) => [name, here[index], byOutbound[index], byFree[index], byNone[index]]);
    const word = (isOpen: boolean): string => (isOpen ? "open" : "silent");
    assert.deepEqual(
      seen,
      rows.map(([name, , isOpen, isOpenToOthers]) => [name, "open", word(isOpen), word(isOpenToOthers), "silent"]),
    );
  });

  test("gateways alone reach replicas' frames and each other's", async () => {
    const [gateway, other] = gateways;
    const targets = [
      { host: victim.status.podIP!, port: 7070 },
      { host: other!.status.podIP!, port: 8081 },
      { host: victim.status.podIP!, port: OWN_PORT },
    ];
    assert.deepEqual(await tryFromPod(gateway!, "server", targets), ["open", "open", "silent"]);
  });
});
