import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFunctionSpec } from "@kube-serverless/contracts";
import { QueueTakers } from "./queue-takers.ts";
import { withoutCode } from "./spec-change.ts";

const specOf = (name: string, ...queues: string[]) =>
  withoutCode(
    parseFunctionSpec({
      name,
      runtime: "nodejs18",
      handler: "index.handler",
      code: "1",
      triggers: queues.map((queue) => ({ type: "queue", config: { queue } })),
    }),
  );

test("who takes from dead letters, or from a queue whose dead letters are taken, is of the family", () => {
  const takers = new QueueTakers();
  takers.set("1", [specOf("one", "orders")]);
  takers.set("2", [specOf("two", "orders.dead", "mail.dead")]);
  takers.set("3", [specOf("three", "orders.eu")]);
  for (const queue of ["orders", "orders.dead", "orders.retry.1000", "orders.dead.dead"])
    assert.deepEqual(takers.ofFamily(queue), ["one", "two"], queue);
  assert.deepEqual(takers.ofFamily("mail"), ["two"]);
  assert.deepEqual([takers.ofFamily("orders.eu"), takers.ofFamily("nothing")], [["three"], []]);
});

test("a queue knows who takes from it, of what serves and of what is asked for", () => {
  const takers = new QueueTakers();
  takers.set("1", [specOf("one", "orders", "mail"), specOf("one", "old")]);
  takers.set("2", [specOf("two", "orders")]);
  takers.set("3", [specOf("three")]);
  assert.deepEqual(takers.of("orders"), ["one", "two"]);
  assert.deepEqual(takers.of("old"), ["one"]);
  takers.set("1", [specOf("one", "mail")]);
  assert.deepEqual([takers.of("orders"), takers.of("mail"), takers.of("old")], [["two"], ["one"], []]);
  takers.remove("2");
  takers.remove("2");
  assert.deepEqual(takers.of("orders"), []);
});
