import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { apiServerMissing, TestApiServer } from "../../cluster/api-server.ts";
import { type TestServer, waitFor } from "../../support/server.ts";
import { FUNCTIONS_NAMESPACE, installPlatform, nextAddress, startGateway } from "./gateway-server.ts";

describe("two gateways", { skip: apiServerMissing() }, () => {
  let cluster: TestApiServer;
  let first: TestServer;
  let second: TestServer;
  const firstAddress = nextAddress();
  before(async () => {
    cluster = await TestApiServer.start({ controllers: true });
    await installPlatform(cluster);
    [first, second] = await Promise.all([start("gateway-1", firstAddress), start("gateway-2", nextAddress())]);
  });
  after(async () => {
    await Promise.all([first?.stop(), second?.stop()]);
    await cluster.dispose();
  });

  function start(name: string, address: string): Promise<TestServer> {
    return startGateway(cluster, { name, address });
  }

  const code = (text: string) => `exports.handler = async () => ({ statusCode: 200, body: ${JSON.stringify(text)} });`;

  function create(gateway: TestServer, name: string, more: object = {}): Promise<Response> {
    const spec = { name, runtime: "nodejs18", handler: "index.handler", code: code(name), ...more };
    return fetch(`${gateway.api}/functions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(spec),
    });
  }

  /** Longer than elsewhere: every start of a sandbox counts twice here. */
  const LIMIT_MS = 30_000;

  function untilRunning(gateway: TestServer, name: string): Promise<unknown> {
    return waitFor(
      `${name} to run`,
      async () => {
        const state = await stateOf(gateway, name);
        assert.notEqual(state, "failed");
        return state === "running";
      },
      LIMIT_MS,
    );
  }

  async function stateOf(gateway: TestServer, name: string): Promise<string> {
    const body = (await (await fetch(`${gateway.api}/functions/${name}`)).json()) as { status?: { state: string } };
    return body.status?.state ?? "absent";
  }

  function call(gateway: TestServer, name: string): Promise<Response> {
    return fetch(`${gateway.url}/fn/${name}`, { signal: AbortSignal.timeout(LIMIT_MS) });
  }

  test("what one says runs is answered by both at once, whoever owns it", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `both-${index}`);
    for (const [index, name] of names.entries()) {
      const [here, there] = index % 2 === 0 ? [first, second] : [second, first];
      assert.equal((await create(here, name)).status, 201);
      await untilRunning(here, name);
      assert.equal(await (await call(there, name)).text(), name);
      assert.equal(await (await call(here, name)).text(), name);
    }
    const owners = await cluster.kubectl([
      "get",
      "events.events.k8s.io",
      "--namespace",
      FUNCTIONS_NAMESPACE,
      "-o",
      "jsonpath={.items[*].reportingController}",
    ]);
    assert.match(owners, /kube-serverless/);
  });

  test("a function is found at the other before it was told of", async () => {
    assert.equal((await create(first, "found")).status, 201);
    // Waits for its deploy there.
    assert.equal(await (await call(second, "found")).text(), "found");
    assert.equal((await call(second, "never-there")).status, 404);
  });

  test("of two functions with one path, created at two gateways at once, one gets it", async () => {
    const triggers = [{ type: "http", config: { path: "/wanted" } }];
    const answers = await Promise.all([create(first, "wanted-a", { triggers }), create(second, "wanted-b", { triggers })]);
    const made = answers.flatMap(({ status }, index) => (status === 201 ? [["wanted-a", "wanted-b"][index]!] : []));
    assert.ok(made.length > 0);
    const settled = (): Promise<string[]> =>
      Promise.all(
        made.map((name) =>
          waitFor(
            `${name} to settle`,
            async () => {
              const state = await stateOf(first, name);
              return state === "deploying" ? undefined : state;
            },
            LIMIT_MS,
          ),
        ),
      );
    await waitFor("one of them to run", async () => (await settled()).filter((state) => state === "running").length === 1);
    const [winner] = (await settled()).flatMap((state, index) => (state === "running" ? [made[index]!] : []));
    for (const gateway of [first, second]) assert.equal(await (await fetch(`${gateway.url}/wanted`)).text(), winner);
  });

  test("metrics and scaling are told behind both, and a deletion waits for what runs at the owner", async () => {
    for (const name of ["told-a", "told-b", "told-c"]) {
      const slow =
        "exports.handler = async () => { await new Promise((resolve) => setTimeout(resolve, 1500)); return { statusCode: 200, body: 'slow' }; };";
      assert.equal((await create(first, name, { code: slow })).status, 201);
      await untilRunning(first, name);
      const running = call(second, name);
      const figures = async (gateway: TestServer): Promise<{ inFlight: number; replicas: number }> => {
        const [scaling, metrics] = await Promise.all(
          ["scaling", "metrics"].map(async (what) => (await fetch(`${gateway.api}/functions/${name}/${what}`)).json()),
        );
        return { inFlight: (scaling as { inFlight: number }).inFlight, replicas: (metrics as { replicas: number }).replicas };
      };
      await waitFor("the call to run", async () => (await figures(first)).inFlight === 1);
      assert.deepEqual(await figures(second), { inFlight: 1, replicas: 1 });
      let isOver = false;
      void running.then(() => (isOver = true));
      assert.equal((await fetch(`${first.api}/functions/${name}`, { method: "DELETE" })).status, 204);
      assert.equal(isOver, true);
      assert.equal(await (await running).text(), "slow");
      assert.equal((await call(second, name)).status, 404);
    }
  });

  test("when one is killed the other answers for all within moments, and takes its deploys over", async () => {
    const names = Array.from({ length: 6 }, (_, index) => `left-${index}`);
    for (const name of names) {
      assert.equal((await create(first, name)).status, 201);
      await untilRunning(first, name);
    }
    await first.kill();
    const answers = (name: string) =>
      call(second, name).then(
        ({ status }) => status === 200,
        () => false,
      );
    await Promise.all(names.map((name) => waitFor(`${name} to answer`, () => answers(name), 30_000)));
    assert.equal((await create(second, "after")).status, 201);
    await untilRunning(second, "after");
    first = await start("gateway-1", firstAddress);
    for (const name of names) assert.equal(await (await call(first, name)).text(), name);
  });

  test("a rolling restart under calls fails none", async () => {
    assert.equal((await create(first, "steady")).status, 201);
    await untilRunning(first, "steady");
    const over = new AbortController();
    const answers = new Map<number, number>();
    const stream = (async () => {
      while (!over.signal.aborted) {
        const { status } = await call(second, "steady");
        answers.set(status, (answers.get(status) ?? 0) + 1);
      }
    })();
    await first.stop();
    first = await start("gateway-1", firstAddress);
    over.abort();
    await stream;
    assert.deepEqual([...answers.keys()], [200], JSON.stringify([...answers]));
  });
});
