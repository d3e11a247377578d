import assert from "node:assert/strict";
import { test } from "node:test";
import { OPERATIONS } from "@kube-serverless/contracts";
import { systemClock } from "../clock.ts";
import { ApiKeys } from "../security/keys/api-keys.ts";
import { MemoryKeyStore } from "../security/keys/memory-key-store.ts";
import { TaskGroup } from "../task-group.ts";
import { openApiServer } from "./testing/open-api-server.ts";

const spec = { name: "my-function", runtime: "nodejs18", handler: "index.handler", code: "1" };

/** The gateway answers it before the control API would. */
const OF_THE_GATEWAY = "invokeFunction";

test("every operation of the document answers as it says", async (t) => {
  const keys = new ApiKeys({ store: new MemoryKeyStore(), clock: systemClock, tasks: new TaskGroup({ error: () => {} }) });
  t.after(() => keys.stop());
  const { id: keyId } = await keys.create({ name: "a test's", role: "viewer", functions: ["*"] });
  const api = await openApiServer(t, { keys });
  await api.send("POST", "/api/v1/functions", spec);
  const isLast = (id: string) => id === "deleteFunction" || id === "deleteKey";
  for (const operation of [...OPERATIONS].sort((left, right) => Number(isLast(left.id)) - Number(isLast(right.id)))) {
    if (operation.id === OF_THE_GATEWAY) continue;
    const { id, method, answers } = operation;
    const path = operation.path
      .replace("{name}", id === "createFunction" ? "" : spec.name)
      .replace("{queue}", "orders")
      .replace("{id}", keyId);
    const example = id === "createFunction" ? { ...spec, name: "another" } : id === "updateFunction" ? spec : operation.body?.example;
    const init = example === undefined ? {} : { body: JSON.stringify(example), headers: { "Content-Type": "application/json" } };
    const response = await api.fetch(path, { method: method.toUpperCase(), ...init });
    const text = await response.text();
    const answer = answers[response.status];
    assert.ok(answer, `${id} answered ${response.status}: ${text}`);
    for (const header of Object.keys(answer.headers ?? {}))
      if (header !== "Link") assert.ok(response.headers.has(header), `${id}: ${header}`);
    if (answer.content === undefined) continue;
    assert.ok(response.headers.get("content-type")?.startsWith(answer.content.type), id);
    if (!("safeParse" in answer.content.schema)) continue;
    const result = answer.content.schema.safeParse(JSON.parse(text));
    assert.ok(result.success, `${id}: ${result.error?.message}`);
  }
});

test("the document is served as it is committed", async (t) => {
  const api = await openApiServer(t);
  const served = (await api.send("GET", "/openapi.json")).body as unknown;
  const { default: committed } = await import("../../../../generated/openapi.json", { with: { type: "json" } });
  assert.deepEqual(served, committed);
});
