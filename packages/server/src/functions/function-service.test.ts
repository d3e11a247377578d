import assert from "node:assert/strict";
import { test } from "node:test";
import { type FunctionSpec, KsError } from "@kube-serverless/contracts";
import { ManualClock } from "../clock.ts";
import { Call } from "../dispatch/call.ts";
import { Dispatcher } from "../dispatch/dispatcher.ts";
import { FakeProvider } from "../dispatch/fake-replicas.ts";
import { compileScalingPolicy } from "../dispatch/function-scaler.ts";
import { sayPodLost } from "../instances/replica-errors.ts";
import { RuntimeNotStarted } from "../instances/runtime-not-started.ts";
import { createMemoryStore } from "../store/memory-store.ts";
import type { FunctionStore } from "../store/port.ts";
import { CodeCache } from "./code-cache.ts";
import { Deployer } from "./deployer.ts";
import { DefaultFunctionService } from "./function-service.ts";
import type { FunctionView } from "./port.ts";
import { FunctionRegistry } from "./registry.ts";

/** A memory store whose next write waits for a word from the test, as a commit may take its time. */
class SlowStore {
  readonly inner = createMemoryStore();
  #gate: PromiseWithResolvers<void> | undefined;
  readonly store: FunctionStore = {
    loadFunctions: () => this.inner.loadFunctions(),
    readCode: (uid, revision) => this.inner.readCode(uid, revision),
    deleteFunction: (uid) => this.inner.deleteFunction(uid),
    putFunction: async (stored, code) => {
      const gate = this.#gate;
      this.#gate = undefined;
      await gate?.promise;
      await this.inner.putFunction(stored, code);
    },
  };

  holdNextWrite(): () => void {
    const gate = Promise.withResolvers<void>();
    this.#gate = gate;
    return () => gate.resolve();
  }
}

function stateOf({ stored }: FunctionView): string {
  return stored.status.state;
}

function throwOn(error: unknown): void {
  throw error;
}

function createService(store: FunctionStore, onError: (error: unknown) => void = throwOn) {
  const clock = new ManualClock();
  const provider = new FakeProvider(clock);
  const registry = new FunctionRegistry();
  const codeCache = new CodeCache(1_000_000);
  const parts = { clock, store, registry, codeCache, onTriggersChanged: () => undefined };
  const deployer = new Deployer({ ...parts, provider, onDeployed: () => undefined, onError });
  const service = new DefaultFunctionService({
    ...parts,
    deployer,
    createDispatcher: (entry) => {
      const dispatcher = new Dispatcher(entry.stored.spec, {
        clock,
        provider,
        queueLimits: { maxCalls: 10, maxBytes: 1_000_000 },
        queueTimeoutMs: 60_000,
        policy: compileScalingPolicy(60_000),
        onCallEnded: () => undefined,
      });
      const served = deployer.servedOf(entry.stored);
      if (served !== undefined) dispatcher.serve(served, []);
      return dispatcher;
    },
    installHint: () => "",
    runtimes: () => [{ name: "nodejs18", language: "nodejs", version: "18", exact: true, available: true, hint: "" }],
    lastInvocation: () => undefined,
    onDeleted: () => undefined,
  });
  return { service, provider, registry, clock };
}

const SPEC: FunctionSpec = {
  name: "f",
  runtime: "nodejs18",
  handler: "index.handler",
  code: "1",
  environment: {},
  minReplicas: 0,
  maxReplicas: 10,
  triggers: [],
  timeout: 30,
  memory: 256,
  network: "outbound",
  concurrency: 100,
};

/** Lets everything that can go on without a word from the test go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("an update that comes while the end of a build is being written keeps what that build made serve", async () => {
  const slow = new SlowStore();
  const { service, provider } = createService(slow.store);
  await service.create(SPEC);
  provider.replicas[0]!.becomeReady();
  await settle();
  await service.update("f", { ...SPEC, code: "2" }, undefined);
  const release = slow.holdNextWrite();
  provider.replicas[1]!.becomeReady();
  await settle();
  const updated = service.update("f", { ...SPEC, code: "3" }, undefined);
  await settle();
  release();
  assert.equal((await updated).stored.revision, 3);
  const [kept] = await slow.inner.loadFunctions();
  assert.equal(kept!.served?.revision, 2);
  assert.equal(await slow.inner.readCode(kept!.uid, 2), "2");
  assert.equal(await slow.inner.readCode(kept!.uid, 3), "3");
});

test("a function that keeps replicas gets as many as it asks for, at its deploy and after a restart", async () => {
  const store = createMemoryStore();
  const { service, provider } = createService(store);
  await service.create({ ...SPEC, minReplicas: 2 });
  provider.replicas[0]!.becomeReady();
  await settle();
  assert.equal(provider.replicas.length, 3, "the one that checked, and two");
  const next = createService(store.restart());
  await next.service.load();
  assert.equal(next.provider.replicas.length, 2);
  assert.equal(next.service.get("f").replicas, 2);
});

test("an update that raises minReplicas starts replicas of the new revision alone", async () => {
  const { service, provider } = createService(createMemoryStore());
  await service.create({ ...SPEC, minReplicas: 1 });
  provider.replicas[0]!.becomeReady();
  await settle();
  await service.update("f", { ...SPEC, code: "2", minReplicas: 3 }, undefined);
  provider.replicas[2]!.becomeReady();
  await settle();
  assert.deepEqual(
    provider.replicas.slice(2).map(({ revision }) => revision.revision),
    [2, 2, 2],
  );
  assert.equal(service.get("f").replicas, 3);
});

test("what comes after a DELETE's commit does not wait for the calls within", async () => {
  const { service, provider, registry } = createService(createMemoryStore());
  await service.create({ ...SPEC, minReplicas: 1 });
  provider.replicas[0]!.becomeReady();
  await settle();
  const dispatcher = registry.require("f").dispatcher();
  const serving = provider.replicas[1]!;
  serving.becomeReady();
  const head = { id: "r", method: "GET", path: "/", query: {}, headers: {}, trigger: { type: "http" as const }, timeoutMs: 1000 };
  const receiver = { onHead: () => undefined, onData: () => undefined, onFailed: () => undefined };
  dispatcher.submit(new Call(dispatcher, head, [], 0, receiver, 0));
  const deleted = service.delete("f", undefined);
  const [again, update] = [service.delete("f", undefined), service.update("f", SPEC, undefined)];
  const isMissing = (error: KsError): boolean => error.code === "FUNCTION_NOT_FOUND";
  await assert.rejects(again, isMissing);
  await assert.rejects(update, isMissing);
  await assert.rejects(service.create(SPEC), (error: KsError) => (error.details as { state: string }).state === "deleting");
  assert.deepEqual([service.get("f"), ...service.list()].map(stateOf), ["deleting", "deleting"]);
  assert.equal(await service.readCode("f"), SPEC.code);
  serving.answer();
  await deleted;
  assert.throws(() => service.get("f"), isMissing);
  assert.deepEqual(service.list(), []);
  await service.create(SPEC);
});

test("the same spec while failed is built again, and says so", async () => {
  const { service, provider } = createService(createMemoryStore());
  await service.create(SPEC);
  provider.replicas[0]!.failToLoad(new KsError("FUNCTION_FAILED"));
  await settle();
  assert.equal(service.get("f").stored.status.state, "failed");
  const { stored } = await service.update("f", SPEC, undefined);
  assert.equal(stored.status.state, "deploying");
  assert.equal(stored.status.message, undefined);
  assert.equal(stored.generation, 1);
  provider.replicas[1]!.becomeReady();
  await settle();
  assert.equal(service.get("f").stored.status.state, "running");
});

test("a runtime that does not start leaves a deploy waiting, says so, and is tried again", async () => {
  const { service, provider, clock } = createService(createMemoryStore());
  await service.create(SPEC);
  for (let tries = 1; tries <= 8; tries++) {
    provider.replicas.at(-1)!.crash(new RuntimeNotStarted("nodejs18", "its process ended with code 1", undefined));
    await settle();
    const { state, reason, message } = service.get("f").stored.status;
    assert.deepEqual([state, reason], ["deploying", "RuntimeNotStarted"]);
    assert.match(message!, /the runtime nodejs18 did not start: its process ended with code 1/);
    await clock.advance(10_000);
    assert.equal(provider.replicas.length, tries + 1);
  }
  provider.replicas.at(-1)!.becomeReady();
  await settle();
  const { state, reason, message } = service.get("f").stored.status;
  assert.deepEqual([state, reason, message], ["running", undefined, undefined]);
});

test("a check that loses its pod is tried again, yet not for ever", async () => {
  const { service, provider, clock } = createService(createMemoryStore());
  await service.create(SPEC);
  for (let tries = 0; tries < 5; tries++) {
    provider.replicas.at(-1)!.crash(sayPodLost(new KsError("FUNCTION_CRASHED")));
    await settle();
    const { state, reason } = service.get("f").stored.status;
    assert.deepEqual([state, reason], ["deploying", "PodLost"]);
    await clock.advance(10_000);
  }
  provider.replicas.at(-1)!.crash(sayPodLost(new KsError("FUNCTION_CRASHED")));
  await settle();
  assert.equal(service.get("f").stored.status.state, "failed");
});

test("an update without room says what it waits for, asks ever more seldom, and comes through when there is room", async () => {
  const { service, provider, clock } = createService(createMemoryStore());
  await service.create(SPEC);
  provider.replicas[0]!.becomeReady();
  await settle();
  provider.refusal = new KsError("NO_CAPACITY", { message: "No capacity: 3 of 3 replicas" });
  await service.update("f", { ...SPEC, code: "2" }, undefined);
  await settle();
  const { status } = service.get("f").stored;
  assert.deepEqual([status.state, status.reason, status.message], ["deploying", "NoCapacity", "No capacity: 3 of 3 replicas"]);
  const before = provider.asked;
  for (let second = 0; second < 60; second++) {
    await clock.advance(1000);
    await settle();
  }
  const asked = provider.asked - before;
  assert.ok(asked >= 5 && asked <= 9, `asked ${asked} times in a minute`);
  provider.refusal = undefined;
  await clock.advance(10_000);
  provider.replicas.at(-1)!.becomeReady();
  await settle();
  const { state, reason, message, revision } = service.get("f").stored.status;
  assert.deepEqual([state, reason, message, revision], ["running", undefined, undefined, 2]);
});

/** Create, build, update, build, delete: as many writes, one of which is refused. */
const WRITES = 5;
for (let n = 1; n <= WRITES; n++) {
  test(`write ${n} of a function's life is refused: what was acknowledged is kept, and all goes on`, async () => {
    const store = createMemoryStore();
    let writes = 0;
    const refuseOne = <A extends unknown[]>(write: (...args: A) => Promise<void>) => {
      return async (...args: A): Promise<void> => {
        if (++writes === n) throw new KsError("STORE_UNAVAILABLE");
        await write(...args);
      };
    };
    const refusing: FunctionStore = {
      loadFunctions: () => store.loadFunctions(),
      readCode: (uid, revision) => store.readCode(uid, revision),
      putFunction: refuseOne((stored, code) => store.putFunction(stored, code)),
      deleteFunction: refuseOne((uid) => store.deleteFunction(uid)),
    };
    const { service, provider, clock } = createService(refusing, (error) =>
      assert.equal((error as KsError).code, "STORE_UNAVAILABLE", String(error)),
    );
    /** As a client does; what was refused has changed nothing. */
    const insist = async (change: () => Promise<unknown>): Promise<void> => {
      const before = await store.loadFunctions();
      try {
        await change();
      } catch (error) {
        assert.equal((error as KsError).code, "STORE_UNAVAILABLE");
        assert.deepEqual(await store.loadFunctions(), before);
        await change();
      }
    };
    const runsAs = async (revision: number): Promise<void> => {
      for (let tries = 0; tries < 20 && stateOf(service.get("f")) !== "running"; tries++) {
        for (const replica of provider.replicas) replica.becomeReady();
        await settle();
        await clock.advance(1000);
      }
      const [stored] = await store.loadFunctions();
      assert.deepEqual([stored?.status.state, stored?.served?.revision], ["running", revision]);
    };
    await insist(() => service.create(SPEC));
    await runsAs(1);
    await insist(() => service.update("f", { ...SPEC, code: "2" }, undefined));
    assert.equal((await store.loadFunctions())[0]?.revision, 2);
    await runsAs(2);
    await insist(() => service.delete("f", undefined));
    assert.deepEqual(await store.loadFunctions(), []);
    assert.equal(writes, WRITES + 1);
  });
}
