import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startServer, type TestServer } from "../../support/server.ts";

let server: TestServer;
before(async () => {
  server = await startServer();
});
after(() => server.stop());

const ENDLESS = [
  { name: "endless-js", runtime: "nodejs18", handler: "index.handler", code: "exports.handler = async () => { for (;;); };" },
  { name: "endless-py", runtime: "python39", handler: "handler", code: "def handler(event):\n    while True:\n        pass" },
];

for (const spec of ENDLESS) {
  test(`${spec.runtime}: a first call that never lets go is cut by its own timeout, and counted with that time`, async () => {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ ...spec, timeout: 1 });
    assert.equal((await fetch(`${server.api}/functions`, { method: "POST", headers, body })).status, 201);
    for (const round of ["first", "second"]) {
      const response = await fetch(`${server.api}/functions/${spec.name}/invoke`, { method: "POST" });
      const { code, error } = (await response.json()) as { code: string; error: string };
      assert.deepEqual(
        { status: response.status, code, error },
        { status: 504, code: "TIMEOUT", error: "The function did not answer within its timeout of 1 s" },
        round,
      );
      assert.equal(response.headers.get("x-function-duration"), "1.000000");
    }
    const metrics = (await (await fetch(`${server.api}/functions/${spec.name}/metrics`)).json()) as Record<string, unknown>;
    assert.deepEqual(
      { avgDuration: metrics["avgDuration"], errors: metrics["errors"], errorRate: metrics["errorRate"] },
      { avgDuration: 1, errors: { TIMEOUT: 2 }, errorRate: 1 },
    );
  });
}
