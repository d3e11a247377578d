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

  function remove(gateway: TestServer, name: string): Promise<Response> {
    return fetch(`${gateway.api}/functions/${name}`, { method: "DELETE" });
  }

  async function scalingOf(gateway: TestServer, name: string): Promise<{ inFlight: number }> {
    return (await (await fetch(`${gateway.api}/functions/${name}/scaling`)).json()) as { inFlight: number };
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

  test("of six functions with one path, created at two gateways at once, one is made", async () => {
    const triggers = [{ type: "http", config: { path: "/wanted/:id" } }];
    const names = Array.from({ length: 6 }, (_, index) => `wanted-${index}`);
    const answers = await Promise.all(names.map((name, index) => create(index % 2 === 0 ? first : second, name, { triggers })));
    const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
    assert.deepEqual(statuses, [201, 409, 409, 409, 409, 409]);
    const winner = names[answers.findIndex(({ status }) => status === 201)]!;
    await untilRunning(second, winner);
    for (const gateway of [first, second]) assert.equal(await (await fetch(`${gateway.url}/wanted/1`)).text(), winner);
    assert.equal((await remove(second, winner)).status, 204);
    assert.equal((await create(first, "wanted-again", { triggers })).status, 201);
    assert.equal((await create(second, "wanted-too", { triggers })).status, 409);
  });

  test("a path that an update asks for is nobody else's, and the function itself may be written again at once", async () => {
    assert.equal((await create(first, "moving")).status, 201);
    for (const [index, gateway] of [first, second, first].entries()) {
      const triggers = [{ type: "http", config: { path: `/moved/${index}` } }];
      const spec = { runtime: "nodejs18", handler: "index.handler", code: code("moving"), triggers };
      const body = JSON.stringify(spec);
      const headers = { "content-type": "application/json" };
      assert.equal((await fetch(`${gateway.api}/functions/moving`, { method: "PUT", headers, body })).status, 200);
      const other = gateway === first ? second : first;
      assert.equal((await create(other, `in-the-way-${index}`, { triggers })).status, 409);
    }
  });

  test("the name of a function that is deleted is kept, and shown as deleting, behind both until its last call has ended", async () => {
    const slow = `exports.handler = async ({ query }) => {
      await new Promise((resolve) => setTimeout(resolve, Number(query.ms ?? 0)));
      return { statusCode: 200, body: "slow" };
    };`;
    assert.equal((await create(first, "kept", { code: slow })).status, 201);
    await untilRunning(second, "kept");
    const running = fetch(`${second.url}/fn/kept?ms=3000`);
    await waitFor("the call to run", async () => (await scalingOf(first, "kept")).inFlight === 1);
    const deleting = remove(first, "kept");
    for (const gateway of [first, second]) {
      await waitFor("new calls to be refused", async () => (await call(gateway, "kept")).status === 404);
      const again = await create(gateway, "kept");
      assert.deepEqual([again.status, ((await again.json()) as { details: object }).details], [409, { name: "kept", state: "deleting" }]);
      const shown = (await (await fetch(`${gateway.api}/functions/kept`)).json()) as { code: string; status: { state: string } };
      assert.deepEqual([shown.status.state, shown.code], ["deleting", slow]);
      const all = (await (await fetch(`${gateway.api}/functions`)).json()) as { name: string; status: { state: string } }[];
      assert.equal(all.find(({ name }) => name === "kept")?.status.state, "deleting");
    }
    assert.equal(await (await running).text(), "slow");
    assert.equal((await deleting).status, 204);
    const made = await create(second, "kept");
    assert.deepEqual([made.status, ((await made.json()) as { status: { state: string } }).status.state], [201, "deploying"]);
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
      assert.equal((await remove(first, name)).status, 204);
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
