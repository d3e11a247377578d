import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OPERATIONS } from "@kube-serverless/contracts";
import { openApiServer } from "./testing/open-api-server.ts";

/** The gateway answers it before the control API would. */
const OF_THE_GATEWAY = "invokeFunction";
const PROBES = ["getHealth", "getHealthV1", "getReadiness", "getReadinessV1"];

describe("a query parameter that a route does not know", { concurrency: true }, () => {
  for (const { id, method, path, parameters = [] } of OPERATIONS) {
    if (id === OF_THE_GATEWAY) continue;
    const known = parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name);
    const url = path.replaceAll(/\{\w+\}/g, "orders");
    test(
      PROBES.includes(id) ? `is passed over by ${id}` : `is refused by ${id}, naming it and ${known.join(", ") || "that there are none"}`,
      async (t) => {
        const api = await openApiServer(t);
        const { response, body } = await api.send(method.toUpperCase(), `${url}?nonsense=1`);
        if (PROBES.includes(id)) return assert.equal(response.status, 200);
        assert.deepEqual([response.status, body.code], [400, "BAD_REQUEST"]);
        assert.match(body.error, /unknown query parameter 'nonsense'/);
        assert.ok(body.error.endsWith(known.length === 0 ? "this path takes none" : `this path takes ${known.join(", ")}`), body.error);
        if (method === "get") assert.equal((await api.fetch(`${url}?nonsense`, { method: "HEAD" })).status, 400);
      },
    );
  }

  test("is named with the one that was probably meant", async (t) => {
    const api = await openApiServer(t);
    const { body } = await api.send("GET", "/api/v1/functions?limt=2");
    assert.equal(body.error, "Bad request: unknown query parameter 'limt'; did you mean 'limit'? this path takes limit, cursor");
  });

  test("does not keep people from the pages", async (t) => {
    const api = await openApiServer(t);
    for (const path of ["/?utm_source=a", "/docs?utm_source=a"]) {
      assert.ok([200, 302].includes((await api.fetch(path, { redirect: "manual" })).status), path);
    }
  });
});

test("a query parameter that is given twice is refused", async (t) => {
  const api = await openApiServer(t);
  const { response, body } = await api.send("GET", "/api/v1/functions?limit=1&limit=2");
  assert.equal(response.status, 400);
  assert.equal(body.error, "Bad request: the query parameter 'limit' is given twice");
});
