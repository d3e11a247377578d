import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startServer, type TestServer, waitFor } from "../../support/server.ts";

const CODE = `
exports.header = async () => ({ statusCode: 200, headers: { "x-bad": "a\\r\\nb" }, body: "ok" });
exports.large = async () => ({ statusCode: 200, body: (function* () { for (let i = 0; i < 8; i++) yield Buffer.alloc(1024 * 1024); })() });
`;

describe("responses that cannot be passed on", () => {
  let server: TestServer;

  before(async () => (server = await startServer()));
  after(() => server.stop());

  for (const [handler, path, status, code] of [
    ["header", "invoke", 500, "FUNCTION_ERROR"],
    ["header", "fn", 500, "FUNCTION_ERROR"],
    ["large", "invoke", 502, "RESPONSE_TOO_LARGE"],
  ] as const) {
    test(`${handler} by /${path}: ${status}, counted under ${code}`, async () => {
      const name = `${handler}-${path}`;
      const body = JSON.stringify({ name, runtime: "nodejs18", handler: `index.${handler}`, code: CODE });
      await fetch(`${server.api}/functions`, { method: "POST", headers: { "content-type": "application/json" }, body });
      await waitFor("the deploy", async () => {
        const { status } = (await readJson(`/functions/${name}`)) as { status: { state: string } };
        return status.state === "running";
      });
      const url = path === "fn" ? `${server.url}/fn/${name}` : `${server.api}/functions/${name}/invoke`;
      const response = await fetch(url, { method: "POST" });
      assert.equal(response.status, status);
      assert.equal(((await response.json()) as { code: string }).code, code);
      const errors = await waitFor("the count", async () => {
        const metrics = (await readJson(`/functions/${name}/metrics`)) as { errors: Record<string, number> };
        return Object.keys(metrics.errors).length > 0 && metrics.errors;
      });
      assert.deepEqual(errors, { [code]: 1 });
    });
  }

  async function readJson(path: string): Promise<unknown> {
    return (await fetch(server.api + path)).json();
  }
});
