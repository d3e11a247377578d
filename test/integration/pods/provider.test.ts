import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import type { FrameReplica } from "../../../packages/server/src/instances/frame-replica.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { waitFor } from "../../support/server.ts";
import { type TestGateway, TestPods } from "./cluster.ts";
import { call } from "./gateway.ts";
import { POD_LANGUAGES } from "./pod-languages.ts";

const language = POD_LANGUAGES.find(({ name }) => name === "nodejs24")!;
const POOL_SIZE = 3;
const LIMIT_MS = 30_000;

describe("replicas as pods", { skip: apiServerMissing() ?? false }, () => {
  let cluster: TestPods;
  let first: TestGateway;
  let second: TestGateway;
  before(async () => {
    cluster = await TestPods.start(language, POOL_SIZE);
    first = await cluster.gateway("gateway-1");
    second = await cluster.gateway("gateway-2");
  });
  after(() => cluster.stop());

  const waiting = async ({ provider }: TestGateway): Promise<number> => (await provider.poolState())[0]?.waiting ?? 0;
  const full = async (): Promise<void> => {
    await waitFor("full pools", async () => (await waiting(first)) >= POOL_SIZE && (await waiting(second)) >= POOL_SIZE, LIMIT_MS);
  };
  const start = async (gateway: TestGateway, code = language.echo, changes = {}): Promise<FrameReplica> => {
    const revision = await cluster.createFunction(changes);
    gateway.owned.add(revision.uid);
    return gateway.provider.startReplica(revision, () => code, "serve") as FrameReplica;
  };
  // One that was started for a function has its uid from the beginning, and its revision when it is claimed.
  const podOf = (replica: FrameReplica): ReturnType<TestPods["kubelet"]["pods"]>[number] | undefined =>
    cluster.kubelet.pods().find(({ metadata: { labels = {} } }) => {
      const isOfFunction = labels["kube-serverless.io/function-uid"] === replica.revision.uid;
      return isOfFunction && labels["kube-serverless.io/revision"] === String(replica.revision.revision);
    });
  const claimed = (replica: FrameReplica): Promise<NonNullable<ReturnType<typeof podOf>>> =>
    waitFor("the claim to be written", () => podOf(replica), LIMIT_MS);
  const deleted = (uid: string): Promise<true> =>
    waitFor("the pod to be deleted", () => !cluster.kubelet.pods().some(({ metadata }) => metadata.uid === uid), LIMIT_MS);

  test("claims a waiting pod, writes it down afterwards, and the pool is filled again", async () => {
    await full();
    const replica = await start(first);
    const outcome = await call(replica, { x: 1 });
    assert.deepEqual(JSON.parse(outcome.body.toString()), { a: { x: 1 }, who: replica.revision.name });
    assert.equal((await replica.ready).fromPool, true);
    const pod = await claimed(replica);
    assert.equal(pod.metadata.labels?.["kube-serverless.io/pool"], undefined);
    assert.equal(pod.metadata.labels?.["kube-serverless.io/network"], "outbound");
    const [owner, ...others] = pod.metadata.ownerReferences ?? [];
    assert.deepEqual(others, []);
    const { uid, name } = replica.revision;
    assert.deepEqual(owner, {
      apiVersion: "kube-serverless.io/v1alpha1",
      kind: "Function",
      name,
      uid,
      controller: true,
      blockOwnerDeletion: false,
    });
    await full();
    replica.drain(5000);
    assert.equal((await replica.exited).reason, "drained");
    await deleted(pod.metadata.uid);
  });

  test("gives no pod to two functions, however many gateways claim at once", async () => {
    await full();
    const replicas = await Promise.all(Array.from({ length: 12 }, (_, index) => start(index % 2 === 0 ? first : second)));
    const answers = await Promise.all(replicas.map((replica) => call(replica, 1)));
    for (const [index, { body, error, notStarted }] of answers.entries()) {
      assert.equal((error ?? notStarted)?.message, undefined);
      assert.deepEqual(JSON.parse(body.toString()), { a: 1, who: replicas[index]!.revision.name });
    }
    const pods = await Promise.all(replicas.map(claimed));
    assert.equal(new Set(pods.map(({ metadata }) => metadata.uid)).size, 12);
    const infos = await Promise.all(replicas.map((replica) => replica.ready));
    assert.ok(
      infos.some(({ fromPool, startMs }) => !fromPool && startMs > 0),
      "the pool was empty, so some had to be started",
    );
    for (const replica of replicas) replica.kill();
    await Promise.all(replicas.map((replica) => replica.exited));
    await Promise.all(pods.map(({ metadata }) => deleted(metadata.uid)));
  });

  test("a pod whose process ends is told as crashed, and deleted", async () => {
    await full();
    const replica = await start(first, "module.exports.handler = () => process.exit(3);");
    const { error } = await call(replica, 1);
    assert.equal(error?.code, "FUNCTION_CRASHED");
    assert.match(error.message, /exited with code 3/);
    assert.equal((await replica.exited).reason, "crashed");
    await waitFor("its deletion", () => podOf(replica) === undefined, LIMIT_MS);
  });

  test("tells memory that ran out from a crash by the pod's status", async () => {
    await full();
    const replica = await start(first, "module.exports.handler = () => new Promise(() => {});");
    await replica.ready;
    const pod = await claimed(replica);
    const hanging = call(replica, 1);
    await cluster.kubelet.endOutOfMemory(pod.metadata.uid);
    const { error } = await hanging;
    assert.equal(error?.code, "FUNCTION_OUT_OF_MEMORY");
    assert.match(error.message, /256 MiB/);
    assert.equal((await replica.exited).reason, "out-of-memory");
    await deleted(pod.metadata.uid);
  });

  test("a replica that holds its event loop is busy, not lost", async () => {
    await full();
    const replica = await start(
      first,
      "module.exports.handler = () => { const end = Date.now() + 4000; while (Date.now() < end); return 'held'; };",
    );
    assert.equal((await call(replica, 1)).body.toString(), "held");
    replica.kill();
    await replica.exited;
  });

  test("a waiting pod whose container was restarted is deleted, never used", async () => {
    await full();
    const pod = cluster.kubelet.pods().find(({ metadata }) => metadata.labels?.["kube-serverless.io/pool"] !== undefined)!;
    await cluster.kubelet.running.get(pod.metadata.uid)!.kill();
    await deleted(pod.metadata.uid);
    await full();
  });

  test("a function goes on in its pods when another gateway comes to own it", async () => {
    await full();
    const replica = await start(first, language.slow);
    await replica.ready;
    const pod = await claimed(replica);
    const running = call(replica, 400);
    const letGo = first.provider.release(replica.revision.uid, 5000);
    const adopted = (await second.provider.adopt(replica.revision)) as FrameReplica[];
    assert.equal(adopted.length, 1);
    assert.equal((await call(adopted[0]!, 1)).body.toString(), "slept");
    assert.equal((await running).body.toString(), "slept");
    await letGo;
    assert.equal((await replica.exited).reason, "drained");
    assert.equal((await call(adopted[0]!, 1)).body.toString(), "slept");
    assert.equal(podOf(replica)?.metadata.uid, pod.metadata.uid);
    adopted[0]!.kill();
    await deleted(pod.metadata.uid);
  });

  test("adopts nothing but what the API server says is the function's", async () => {
    await full();
    const replica = await start(first);
    await replica.ready;
    const pod = await claimed(replica);
    assert.deepEqual(await second.provider.adopt({ ...replica.revision, uid: "1b0d5a52-0000-4b0e-9c0f-7f3f2a9f3a01" }), []);
    assert.deepEqual(await second.provider.adopt({ ...replica.revision, revision: 2 }), []);
    // Labelled by somebody, but another's: the controller decides.
    const other = await cluster.createFunction();
    const path = `pod/${pod.metadata.name}`;
    await cluster.server.kubectl([
      "label",
      "--namespace",
      "kube-serverless",
      path,
      `kube-serverless.io/function-uid=${other.uid}`,
      "--overwrite",
    ]);
    await waitFor("the label", () =>
      cluster.kubelet.pods().some((each) => each.metadata.labels?.["kube-serverless.io/function-uid"] === other.uid),
    );
    assert.deepEqual(await second.provider.adopt(other), []);
    replica.kill();
    await deleted(pod.metadata.uid);
  });

  test("claims go on while the API server is away, and are written when it is back", async () => {
    await full();
    const revision = await cluster.createFunction();
    first.owned.add(revision.uid);
    await cluster.server.kill("apiserver");
    const replica = first.provider.startReplica(revision, () => language.echo, "serve") as FrameReplica;
    assert.deepEqual(JSON.parse((await call(replica, 1)).body.toString()), { a: 1, who: revision.name });
    assert.ok(first.provider.pendingWrites > 0);
    await cluster.server.resume();
    const pod = await claimed(replica);
    replica.kill();
    await deleted(pod.metadata.uid);
  });

  test("starts pods of a class that has no pool, and deletes them with the replica", async () => {
    const replica = await start(first, language.echo, { memory: 512 });
    assert.equal((await call(replica, 1)).head?.status, 200);
    const { fromPool, startMs } = await replica.ready;
    assert.equal(fromPool, false);
    assert.ok(startMs > 0);
    const pod = await claimed(replica);
    assert.equal(pod.metadata.labels?.["kube-serverless.io/memory"], "512");
    const [container] = (pod.spec?.containers ?? []) as { resources?: { limits?: object }; env?: { name: string; value: string }[] }[];
    assert.deepEqual(container?.resources?.limits, { memory: "512Mi" });
    assert.deepEqual(container?.env, [{ name: "KS_MEMORY_MIB", value: "512" }]);
    replica.kill();
    await deleted(pod.metadata.uid);
  });

  test("the same code is checked once", async () => {
    await full();
    const [one, other] = [await cluster.createFunction(), await cluster.createFunction()];
    const twin = { ...other, spec: { ...other.spec, environment: one.spec.environment } };
    const checked = first.provider.startReplica(one, () => language.echo, "check");
    const { runtimeVersion } = await checked.ready;
    checked.kill();
    await checked.exited;
    const again = first.provider.startReplica(twin, () => language.echo, "check");
    assert.match(again.id, /^checked-/);
    assert.equal((await again.ready).runtimeVersion, runtimeVersion);
    again.drain(0);
    await again.exited;
    const changed = first.provider.startReplica(twin, () => `${language.echo} `, "check");
    assert.doesNotMatch(changed.id, /^checked-/);
    await changed.ready;
    changed.kill();
    await changed.exited;
  });

  test("pods that were evicted end their calls, and none is lost", async () => {
    await full();
    const replica = await start(first, language.slow);
    await replica.ready;
    const pod = await claimed(replica);
    const running = call(replica, 800);
    await cluster.server.kubectl(["delete", "pod", "--namespace", "kube-serverless", "--wait=false", pod.metadata.name]);
    await waitFor("it to be told", () => !replica.accepting);
    assert.equal((await running).body.toString(), "slept");
    assert.equal((await replica.exited).reason, "drained");
    await deleted(pod.metadata.uid);
  });

  test("a pod that is lost before the code was loaded is told as lost, not as a crash of the function", async () => {
    await full();
    const replica = await start(first, "for (;;);");
    const pod = await claimed(replica);
    const shim = cluster.kubelet.running.get(pod.metadata.uid)!;
    await cluster.server.kubectl(["delete", "pod", "--namespace", "kube-serverless", "--force", "--grace-period=0", pod.metadata.name]);
    await assert.rejects(replica.ready, (error: KsError) => (error.details as { reason?: unknown }).reason === "PodLost");
    await shim.kill();
  });

  test("the leader makes a pool as large as it is claimed, and as it was again", async () => {
    await full();
    first.provider.scaler.start();
    const replicas = await Promise.all(Array.from({ length: 5 }, () => start(second)));
    await Promise.all(replicas.map((replica) => replica.ready));
    await waitFor("a larger pool", async () => (await waiting(first)) >= 5, LIMIT_MS);
    for (const replica of replicas) replica.kill();
    await waitFor("the pool to shrink", async () => (await waiting(first)) === POOL_SIZE, 60_000);
    first.provider.scaler.stop();
  });

  test("replicas of an older image are replaced", async () => {
    await full();
    const replica = await start(first);
    await replica.ready;
    const pod = await claimed(replica);
    await cluster.setPool(POOL_SIZE, "image:2");
    assert.equal((await replica.exited).reason, "drained");
    await deleted(pod.metadata.uid);
    const next = await waitFor(
      "a newer pod",
      async () => {
        const candidate = await start(first);
        await candidate.ready;
        const image = (await claimed(candidate)).spec?.containers?.[0]?.image;
        candidate.kill();
        return image === "image:2";
      },
      LIMIT_MS,
    );
    assert.equal(next, true);
  });
});
