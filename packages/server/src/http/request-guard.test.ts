import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import { RequestGuard } from "./request-guard.ts";

const functionHosts = { namespace: "kube-serverless", domain: "cluster.local" };
const guard = new RequestGuard({ allowedHosts: ["Example.test"], allowedOrigins: ["https://app.example"], enforced: true, functionHosts });

describe("RequestGuard", () => {
  for (const host of [
    "localhost",
    "localhost:8080",
    "127.0.0.1:1",
    "127.9.9.9",
    "[::1]:8080",
    "LOCALHOST",
    "example.test:80",
    "localhost.",
  ]) {
    test(`answers for ${host}`, () => assert.deepEqual(guard.classifyHost(host), { kind: "platform" }));
  }

  for (const host of ["hello.kube-serverless.svc.cluster.local", "HELLO.kube-serverless:8080", "hello.kube-serverless.svc."]) {
    test(`leads ${host} to the function`, () => assert.deepEqual(guard.classifyHost(host), { kind: "function", name: "hello" }));
  }

  for (const host of ["evil.example", "10.0.0.1", "localhost.evil.example", "0.0.0.0", "[::2]", "kube-serverless", "a.b.kube-serverless"]) {
    test(`refuses ${host}, as a rebound name would bring`, () => {
      assert.throws(
        () => guard.classifyHost(host),
        (error: KsError) => error.code === "FORBIDDEN",
      );
    });
  }

  for (const host of ["", "a b", "a/b", "user@localhost", "localhost:port", "[::1", "a\u0000b"]) {
    test(`calls ${JSON.stringify(host)} no host`, () => {
      assert.throws(
        () => guard.classifyHost(host),
        (error: KsError) => error.code === "BAD_REQUEST",
      );
    });
  }

  test("lets curl, loopback pages and allowed origins in, and no other page", () => {
    guard.checkOrigin(undefined, undefined);
    guard.checkOrigin("http://localhost:3000", "same-site");
    guard.checkOrigin("http://127.0.0.1", "cross-site");
    guard.checkOrigin("https://app.example", "cross-site");
    guard.checkOrigin(undefined, "none");
    for (const [origin, site] of [
      ["https://evil.example", undefined],
      ["null", undefined],
      [undefined, "cross-site"],
      ["http://localhost.evil.example", "cross-site"],
    ] as const) {
      assert.throws(
        () => guard.checkOrigin(origin, site),
        (error: KsError) => error.code === "FORBIDDEN",
      );
    }
  });

  test("leads a mere name, and names of another namespace and domain, to the function in a cluster", () => {
    const hosts = { namespace: "functions", domain: "example.org", platformName: "gateways" };
    const clustered = new RequestGuard({ allowedHosts: ["intranet"], allowedOrigins: [], enforced: false, functionHosts: hosts });
    for (const host of ["hello", "hello:80", "Hello.functions", "hello.functions.svc", "hello.functions.svc.example.org."]) {
      assert.deepEqual(clustered.classifyHost(host), { kind: "function", name: "hello" }, host);
    }
    for (const host of ["localhost", "gateways", "intranet", "10.96.0.7", "[::1]", "hello.functions.svc.cluster.local", "a.b.functions"]) {
      assert.deepEqual(clustered.classifyHost(host), { kind: "platform" }, host);
    }
  });

  test("checks nothing where everyone may do everything", () => {
    const open = new RequestGuard({ allowedHosts: [], allowedOrigins: [], enforced: false, functionHosts });
    assert.deepEqual(open.classifyHost("anything.example"), { kind: "platform" });
    open.checkOrigin("https://evil.example", "cross-site");
  });

  test("remembers hosts within a bound", () => {
    for (let i = 0; i < 5000; i++) assert.equal(guard.classifyHost(`f${i}.kube-serverless`).kind, "function");
  });
});
