import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { Reflector } from "../../../packages/server/src/kubernetes/reflector.ts";
import type { KubernetesObject, Resource } from "../../../packages/server/src/kubernetes/resource.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { waitFor } from "../../support/server.ts";
import { quietLog, useStallingApiServer } from "./support.ts";

interface ConfigMap extends KubernetesObject {
  data?: Record<string, string>;
}

const maps: Resource = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", namespace: "watched" };

describe("reflector", { skip: apiServerMissing() }, () => {
  const api = useStallingApiServer((server) => server.createNamespace("watched"));

  async function open(watchSeconds?: number) {
    const told: string[] = [];
    const reflector = new Reflector<ConfigMap, KubernetesObject & { size: number }>({
      client: api.client,
      resource: maps,
      clock: systemClock,
      log: quietLog,
      labelSelector: "test=yes",
      transform: ({ metadata, data }) => ({ metadata, size: data?.["text"]?.length ?? 0 }),
      onChange: ({ metadata, size }, known) => told.push(`${known === undefined ? "new" : "changed"} ${metadata.name} ${size}`),
      onGone: ({ metadata }) => told.push(`gone ${metadata.name}`),
      ...(watchSeconds === undefined ? {} : { watchSeconds }),
    });
    await reflector.start();
    return { reflector, told };
  }

  function make(name: string, text = "x") {
    return api.direct.create<ConfigMap>(maps, { metadata: { name, labels: { test: "yes" } }, data: { text } });
  }

  test("tells what is there, then each change, and keeps what the transform leaves of it", async () => {
    await make("first", "abc");
    const { reflector, told } = await open();
    try {
      assert.deepEqual(told, ["new first 3"]);
      await make("second");
      await waitFor("second", () => told.length === 2);
      await api.direct.merge(maps, "second", { data: { text: "xx" } });
      await api.direct.delete(maps, "first");
      await waitFor("change and end", () => told.length === 4);
      assert.deepEqual(told.slice(1), ["new second 1", "changed second 2", "gone first"]);
      assert.equal(reflector.size, 1);
      assert.deepEqual(Object.keys(reflector.get("second")!), ["metadata", "size"]);
    } finally {
      await reflector.stop();
    }
  });

  test("reads what was written before the watch says so, and never brings back what is gone", async () => {
    const { reflector, told } = await open();
    try {
      const made = await make("written");
      reflector.observe(made);
      assert.notEqual(reflector.get("written"), undefined);
      await api.direct.delete(maps, "written");
      await waitFor("its end", () => reflector.get("written") === undefined);
      reflector.observe(made);
      assert.equal(reflector.get("written"), undefined);
      assert.equal(told.filter((line) => line.endsWith("written 1")).length, 1);
    } finally {
      await reflector.stop();
    }
  });

  test("goes on where it was when the connection breaks, with what happened meanwhile", async () => {
    const { reflector, told } = await open();
    try {
      api.proxy.refuse(true);
      await make("unseen");
      await waitFor("the outage", () => reflector.failingForMs() > 0);
      api.proxy.refuse(false);
      await waitFor("what was missed", () => reflector.get("unseen") !== undefined);
      assert.equal(reflector.failingForMs(), 0);
      assert.equal(told.filter((line) => line === "new unseen 1").length, 1);
    } finally {
      await reflector.stop();
      await api.direct.delete(maps, "unseen");
    }
  });

  test("lists anew when what it knows is too old for the API server", async () => {
    const { reflector, told } = await open();
    try {
      const old = await make("old");
      await waitFor("old", () => reflector.get("old") !== undefined);
      api.proxy.refuse(true);
      await api.direct.delete(maps, "old");
      const again = await make("old", "again");
      await make("young");
      const revision = Number((await api.direct.merge(maps, "young", { data: { text: "yy" } })).metadata.resourceVersion);
      await api.server.kill("apiserver");
      await promisify(execFile)("etcdctl", ["--endpoints", api.server.etcdUrl, "compact", String(revision)], {
        env: { ETCDCTL_API: "3", ...process.env },
      });
      await api.server.resume();
      api.proxy.refuse(false);
      await waitFor("the list", () => reflector.get("young")?.size === 2);
      assert.equal(reflector.get("old")?.metadata.uid, again.metadata.uid);
      assert.notEqual(old.metadata.uid, again.metadata.uid);
      assert.deepEqual(told.slice(-3), ["gone old", "new old 5", "new young 2"]);
    } finally {
      await reflector.stop();
    }
  });

  test("gives up a watch that has silently stalled", async () => {
    const { reflector } = await open(1);
    try {
      await waitFor("a connection", () => api.proxy.connections > 0);
      api.proxy.stallOpen();
      await make("after-the-stall");
      await waitFor("the next watch", () => reflector.get("after-the-stall") !== undefined, 15_000);
    } finally {
      await reflector.stop();
    }
  });
});
