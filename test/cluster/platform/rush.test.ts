import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../support/server.ts";
import { apply, FUNCTIONS_NAMESPACE, kubectl } from "../support/cluster.ts";
import { World } from "../support/world.ts";

const HELLO = 'exports.handler = async () => "hello";';

describe("functions that come at once", () => {
  let world: World;
  before(async () => (world = await World.open()));
  after(() => world.close());

  test("40 new ones empty the pool, and every first call is answered", async () => {
    const names = await Promise.all(
      Array.from({ length: 40 }, (_, index) => world.platform.deploy({ name: `rush-${index}`, code: HELLO }, 120_000)),
    );
    const answers = await Promise.all(names.map((name) => world.platform.call(name)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    await Promise.all(names.map((name) => world.platform.delete(name)));
  });

  test("two that want one path at two gateways: one has it, the other says why not", async () => {
    const [first, second] = world.gatewayOrigins;
    const path = "/contested";
    const create = async (origin: string, name: string): Promise<number> => {
      const body = { name, runtime: "nodejs18", handler: "index.handler", code: HELLO, triggers: [{ type: "http", config: { path } }] };
      const headers = { "content-type": "application/json" };
      return (await fetch(`${origin}/api/v1/functions`, { method: "POST", headers, body: JSON.stringify(body) })).status;
    };
    await Promise.all([create(first!, "contested-a"), create(second!, "contested-b")]);
    await waitFor(
      "one winner",
      async () =>
        (await Promise.all(world.gatewayOrigins.map(async (origin) => (await fetch(`${origin}${path}`)).status))).every(
          (status) => status === 200,
        ),
      30_000,
    );
    const states = await Promise.all(
      ["contested-a", "contested-b"].map((name) =>
        kubectl([
          "get",
          "functions",
          name,
          "--namespace",
          FUNCTIONS_NAMESPACE,
          "--ignore-not-found",
          "--output=jsonpath={.status.conditions[?(@.type=='Ready')].reason}",
        ]),
      ),
    );
    assert.equal(
      states.filter((reason) => reason === "RouteConflict").length + states.filter((reason) => reason === "").length,
      1,
      states.join(),
    );
    for (const name of ["contested-a", "contested-b"]) await world.platform.delete(name);
  });

  test("a bad apply over a good one: the good revision serves, also from zero and after the gateways' restart", async () => {
    const build = (code: string): object => ({
      apiVersion: "kube-serverless.io/v1alpha1",
      kind: "Function",
      metadata: { name: "kept-good", namespace: FUNCTIONS_NAMESPACE },
      spec: { runtime: "nodejs18", handler: "index.handler", code },
    });
    await apply(build(HELLO));
    await kubectl(["wait", "--for=condition=Ready", "function/kept-good", "--namespace", FUNCTIONS_NAMESPACE, "--timeout=60s"]);
    await apply(build("exports.handler = ("));
    await kubectl(["wait", "--for=condition=Ready=false", "function/kept-good", "--namespace", FUNCTIONS_NAMESPACE, "--timeout=60s"]);
    await kubectl([
      "delete",
      "pods",
      "--namespace",
      FUNCTIONS_NAMESPACE,
      "--selector",
      `kube-serverless.io/function-uid=${await world.uidOf("kept-good")}`,
    ]);
    await kubectl(["rollout", "restart", "deployment/kube-serverless", "--namespace", "kube-serverless-system"]);
    await kubectl(["rollout", "status", "deployment/kube-serverless", "--namespace", "kube-serverless-system", "--timeout=180s"]);
    await world.heal();
    assert.equal((await world.platform.call("kept-good")).text, "hello");
    await kubectl(["delete", "function", "kept-good", "--namespace", FUNCTIONS_NAMESPACE]);
  });
});
