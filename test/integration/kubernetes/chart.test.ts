import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { chartFolder, helm, helmMissing, type Manifest, parseManifests, renderChart } from "../../cluster/helm.ts";
import { manifestsFile, renderManifests } from "../../cluster/render-manifests.ts";
import { projectFolder, waitFor } from "../../support/server.ts";

const EVERYTHING = [
  "--set=server.autoscaling.enabled=true,ingress.enabled=true,ingress.hosts[0].host=functions.example.com",
  "--set=httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway,serviceMonitor.enabled=true",
  "--set=rabbitmq.urlSecret.name=broker,image.pullSecrets[0]=registry,pools.networks={outbound,none},pools.memoryClasses={128,256}",
  "--set=replicas.runtimeClassName=gvisor,replicas.hostUsers=false,server.nodeSelector.disk=fast,service.type=LoadBalancer",
];

function find(manifests: readonly Manifest[], kind: string, name = "kube-serverless"): Manifest {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  assert.ok(found, `there is no ${kind} ${name}`);
  return found;
}

interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}

/** One line a right, as the security page's table says it. */
function listRights(namespace: string, { apiGroups, resources, resourceNames = [], verbs }: Rule): string[] {
  const where = namespace === "kube-serverless" ? "functions" : "release";
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) => {
      const [plural, ...subresource] = resource.split("/");
      const name = [group === "" ? plural : `${plural}.${group}`, ...subresource].join("/");
      return verbs.map((verb) => [where, name, resourceNames.join("+"), verb].join(" "));
    }),
  );
}

const missing = helmMissing();

describe("the chart", { skip: missing ?? false }, () => {
  test("is well-formed and has the version of the project", async () => {
    await helm(["lint", "--strict", chartFolder]);
    const [chart] = parseManifests(readFileSync(join(chartFolder, "Chart.yaml"), "utf8"));
    const { version } = JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8")) as { version: string };
    assert.equal(chart?.["version"], version);
    assert.equal(chart?.["appVersion"], version);
  });

  test("refuses values that it does not know, and namespaces that coincide", async () => {
    await assert.rejects(renderChart("--set=server.replica=3"), /replica/);
    await assert.rejects(renderChart("--set=pools.networks={host}"), /networks/);
    await assert.rejects(renderChart("--set=functions.namespace=kube-serverless-system"), /two namespaces/);
  });

  test("never says how many pods wait, as an upgrade would set the leader's number back", async () => {
    const pools = (await renderChart()).filter(({ kind, metadata }) => kind === "Deployment" && metadata.name.startsWith("pool-"));
    assert.ok(pools.length >= 3);
    for (const pool of pools) assert.equal("replicas" in pool["spec"], false, pool.metadata.name);
  });

  test("has a pool for each runtime, memory class and network", async () => {
    const manifests = await renderChart(...EVERYTHING);
    for (const runtime of ["nodejs18", "python39", "go119"]) {
      for (const memory of [128, 256]) {
        for (const network of ["outbound", "none"]) {
          const { spec } = find(manifests, "Deployment", `pool-${runtime}-${memory}-${network}`);
          const [container] = spec.template.spec.containers;
          assert.equal(container.resources.limits.memory, `${memory}Mi`);
          assert.equal(spec.template.metadata.labels["kube-serverless.io/network"], network);
        }
      }
    }
  });

  test("gives no pod of a function a token, and selects them for NetworkPolicies by labels that a claim leaves alone", async () => {
    const manifests = await renderChart();
    for (const { metadata, spec } of manifests.filter(({ metadata: { name } }) => name.startsWith("pool-"))) {
      assert.equal(spec.template.spec.automountServiceAccountToken, false, metadata.name);
      assert.equal(spec.template.spec.enableServiceLinks, false, metadata.name);
    }
    const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
    assert.equal(policies.length, 3);
    for (const policy of policies) assert.doesNotMatch(JSON.stringify(policy["spec"].podSelector), /kube-serverless.io\/pool/);
  });

  test("asks for no right outside of its two namespaces, and never for all verbs", async () => {
    const manifests = await renderChart();
    assert.deepEqual(
      manifests.filter(({ kind }) => kind.startsWith("ClusterRole")),
      [],
    );
    for (const role of manifests.filter(({ kind }) => kind === "Role")) {
      for (const rule of role["rules"]) assert.ok(!rule.verbs.includes("*"), JSON.stringify(rule));
    }
  });

  test("has the reason of every right on the security page, and no reason there without its right", async () => {
    const roles = (await renderChart("--no-hooks")).filter(({ kind }) => kind === "Role");
    const given = roles.flatMap(({ metadata, rules }) => (rules as Rule[]).flatMap((rule) => listRights(metadata.namespace!, rule)));
    const page = readFileSync(join(projectFolder, "docs/how-to/kubernetes-security.md"), "utf8");
    const rows = page.matchAll(/^\| (functions|release) \| (`.*?) \| ([a-z, ]+) \| \S/gm);
    const explained = [...rows].flatMap(([, namespace, resources = "", verbs = ""]) => {
      const [, names] = /\((.*)\)/.exec(resources) ?? [];
      const inBackquotes = (text: string): string[] => [...text.matchAll(/`(.*?)`/g)].map(([, word]) => word!);
      return inBackquotes(resources.replace(/\(.*\)/, "")).flatMap((resource) =>
        verbs.split(", ").map((verb) => [namespace, resource, inBackquotes(names ?? "").join("+"), verb].join(" ")),
      );
    });
    assert.deepEqual(explained.sort(), given.sort());
  });

  test("leaves the number of gateways to an autoscaler where there is one", async () => {
    assert.equal(find(await renderChart(), "Deployment")["spec"].replicas, 2);
    assert.equal("replicas" in find(await renderChart(...EVERYTHING), "Deployment")["spec"], false);
  });

  test("lets calls end: what gateways have after their Services forgot them is what functions may take", async () => {
    const { spec } = find(await renderChart("--set=server.gracePeriodSeconds=70"), "Deployment");
    const { terminationGracePeriodSeconds, containers } = spec.template.spec;
    assert.equal(terminationGracePeriodSeconds, 70);
    assert.equal(containers[0].lifecycle.preStop.sleep.seconds, 5);
    assert.ok(containers[0].args.includes("--shutdown-timeout=65s"));
  });

  test("has an HTTPRoute and a ServiceMonitor that their schemas allow", async () => {
    const manifests = await renderChart(...EVERYTHING);
    const route = find(manifests, "HTTPRoute");
    new HTTPRoute(route as unknown as ConstructorParameters<typeof HTTPRoute>[0]).validate();
    assert.deepEqual(Object.keys(route["spec"]).sort(), ["parentRefs", "rules"]);
    const monitor = find(manifests, "ServiceMonitor");
    new ServiceMonitor(monitor as unknown as ConstructorParameters<typeof ServiceMonitor>[0]).validate();
    const metrics = find(manifests, "Service", "kube-serverless-metrics");
    const { selector, endpoints } = monitor["spec"];
    for (const [label, value] of Object.entries(selector.matchLabels)) assert.equal(metrics.metadata.labels?.[label], value);
    assert.equal(endpoints[0].port, metrics["spec"].ports[0].name);
  });
});

test("the manifests for kubectl are what the chart gives", { skip: missing ?? false }, async () => {
  const hint = "run node test/cluster/render-manifests.ts";
  assert.equal(readFileSync(manifestsFile, "utf8"), await renderManifests(), hint);
});

describe("kubectl apply -k", { skip: apiServerMissing() ?? false }, () => {
  let server: TestApiServer;
  before(async () => {
    server = await TestApiServer.start();
    await server.kubectl(["apply", "--server-side", "-k", join(projectFolder, "deploy/manifests")]);
  });
  after(() => server.dispose());

  const hello = (namespace: string): Manifest => ({
    apiVersion: "kube-serverless.io/v1alpha1",
    kind: "Function",
    metadata: { name: "hello", namespace },
    spec: { runtime: "nodejs18", handler: "index.handler", code: "exports.handler = async () => 1;" },
  });

  test("makes both namespaces, of which functions live in one", async () => {
    await server.apply([hello("kube-serverless")]);
    // The API server takes a moment to heed a new policy.
    const refusal = await waitFor("a refusal", () => server.apply([hello("default")], "--dry-run=server").then(() => undefined, String));
    assert.match(refusal, /functions live in namespace kube-serverless/);
  });

  test("lets gateways do what they do, and nothing with Secrets of others", async () => {
    const kubeconfig = await server.kubeconfigOf("kube-serverless-system", "kube-serverless");
    const may = async (verb: string, resource: string, namespace: string, subresource = ""): Promise<boolean> => {
      const what = [verb, resource, "--subresource", subresource, "--namespace", namespace];
      const question = ["auth", "can-i", ...what, "--kubeconfig", kubeconfig];
      return (await server.kubectl(question).catch(({ stdout }: { stdout: string }) => stdout)).trim() === "yes";
    };
    assert.equal(await may("patch", "functions.kube-serverless.io", "kube-serverless", "status"), true);
    assert.equal(await may("update", "secrets/kube-serverless-signing", "kube-serverless-system"), true);
    assert.equal(await may("update", "secrets/other", "kube-serverless-system"), false);
    assert.equal(await may("list", "secrets", "kube-serverless-system"), false);
    assert.equal(await may("get", "secrets", "kube-serverless"), false);
    assert.equal(await may("get", "pods", "default"), false);
    assert.equal(await may("create", "pods", "kube-serverless", "exec"), false);
  });

  test("gives a function's service account no right at all", async () => {
    const kubeconfig = await server.kubeconfigOf("kube-serverless", "kube-serverless-replica");
    const rights = await server.kubectl(["auth", "can-i", "--list", "--namespace", "kube-serverless", "--kubeconfig", kubeconfig]);
    assert.doesNotMatch(rights, /kube-serverless\.io|pods|configmaps|secrets|services /);
  });
});

describe("the API server", { skip: missing ?? apiServerMissing() ?? false }, () => {
  let server: TestApiServer;
  before(async () => {
    server = await TestApiServer.start();
    for (const namespace of ["kube-serverless-system", "kube-serverless"]) {
      await server.createNamespace(namespace, { "pod-security.kubernetes.io/enforce": "restricted" });
    }
  });
  after(() => server.dispose());

  test("takes every object of the chart, with every field", async () => {
    const known = (manifest: Manifest): boolean => manifest.kind !== "HTTPRoute" && manifest.kind !== "ServiceMonitor";
    for (const args of [[], EVERYTHING]) {
      await server.apply((await renderChart(...args)).filter(known), "--validate=strict", "--dry-run=server");
    }
  });

  test("takes every pod of it where Pod Security is restricted, and none that asks for more", async () => {
    const manifests = await renderChart();
    await server.apply(manifests.filter(({ kind }) => kind === "ServiceAccount"));
    const pods = manifests.filter(({ spec }) => spec?.template !== undefined).map(toPod);
    assert.ok(pods.length >= 5);
    await server.apply(pods, "--dry-run=server");
    const [pod] = structuredClone(pods);
    pod!["spec"].containers[0].securityContext.allowPrivilegeEscalation = true;
    await assert.rejects(server.apply([pod!], "--dry-run=server"), /violates PodSecurity "restricted/);
  });
});

/** The pod that a Deployment or a Job would make. */
function toPod({ metadata, spec }: Manifest): Manifest {
  const { template } = spec;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...template.metadata, name: metadata.name, namespace: metadata.namespace },
    spec: template.spec,
  };
}
