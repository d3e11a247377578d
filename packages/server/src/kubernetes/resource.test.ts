import assert from "node:assert/strict";
import { test } from "node:test";
import { buildPath } from "./resource.ts";

const functions = { apiVersion: "kube-serverless.io/v1alpha1", kind: "Function", plural: "functions", namespace: "here" };

test("paths lead to a collection, an object of it, or its subresource", () => {
  const root = "/apis/kube-serverless.io/v1alpha1/namespaces/here/functions";
  assert.equal(buildPath(functions), root);
  assert.equal(buildPath(functions, "hello"), `${root}/hello`);
  assert.equal(buildPath(functions, "hello", "status"), `${root}/hello/status`);
  assert.equal(buildPath({ apiVersion: "v1", kind: "Node", plural: "nodes" }, "node1.example.com"), "/api/v1/nodes/node1.example.com");
});

test("a name that would lead elsewhere is refused", () => {
  for (const name of ["", "a/status", "..", ".", "a/../../secrets/x", "a%2Fb", "a?watch=1", "a#b", "-a", "a-"]) {
    assert.throws(() => buildPath(functions, name), /has the name/, name);
  }
});
