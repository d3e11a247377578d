import assert from "node:assert/strict";
import { duplexPair, Readable } from "node:stream";
import { describe, test } from "node:test";
import { KsError } from "@kube-serverless/contracts";
import { ManualClock } from "../../clock.ts";
import { encodeFrame, FrameDecoder, FrameType, MAX_FRAME_LENGTH } from "../../protocol/frames.ts";
import type { Replica, RevisionRef } from "../port.ts";
import { RuntimeNotStarted } from "../runtime-not-started.ts";
import { LocalProvider } from "./provider.ts";
import type { Sandbox, SandboxedProcess, SandboxExit, SandboxSpec } from "./sandbox/port.ts";

const NOTHING = Buffer.alloc(0);

async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** A process that says HELLO when told to, is READY at once, and leaves when asked. */
class FakeProcess implements SandboxedProcess {
  readonly id: string;
  readonly pid = 1;
  readonly stdout = new Readable({ read: () => undefined });
  readonly stderr = new Readable({ read: () => undefined });
  readonly frames;
  readonly #far;
  readonly #exit = Promise.withResolvers<SandboxExit>();
  readonly exited = this.#exit.promise;
  gone = false;

  constructor(id: string) {
    this.id = id;
    [this.frames, this.#far] = duplexPair();
    const decoder = new FrameDecoder((_stream, kind) => {
      if (kind === FrameType.SPECIALISE) this.#send(FrameType.READY, { loadMs: 1 });
      else if (kind === FrameType.DRAIN) this.kill();
    }, MAX_FRAME_LENGTH);
    this.#far.on("data", (chunk: Buffer) => decoder.push(chunk));
  }

  sayHello(): void {
    this.#send(FrameType.HELLO, { protocol: 1 });
  }

  memoryMiB(): Promise<number> {
    return Promise.resolve(10);
  }

  kill(): void {
    this.end({ code: null, signal: "SIGKILL" });
  }

  end(exit: SandboxExit): void {
    this.gone = true;
    this.#exit.resolve(exit);
  }

  #send(kind: number, meta: object): void {
    this.#far.write(encodeFrame(0, kind, false, JSON.stringify(meta), NOTHING));
  }
}

class FakeSandbox implements Sandbox {
  readonly strength = { driver: "plain", network: "host", memory: "polled", degraded: [] } as const;
  readonly sharedFolder = "/none";
  readonly processes: FakeProcess[] = [];
  /** False: HELLO comes when the test says so. */
  atOnce = true;

  stage(source: string): Promise<{ source: string; target: string }> {
    return Promise.resolve({ source, target: source });
  }

  spawn({ id }: SandboxSpec): Promise<SandboxedProcess> {
    const process = new FakeProcess(id);
    this.processes.push(process);
    if (this.atOnce) process.sayHello();
    return Promise.resolve(process);
  }

  async stop(): Promise<void> {}

  get living(): number {
    return this.processes.filter(({ gone }) => !gone).length;
  }
}

function buildRevision(memory: number): RevisionRef {
  const spec = {
    name: "f",
    runtime: "nodejs18" as const,
    handler: "index.handler",
    environment: {},
    minReplicas: 0,
    maxReplicas: 10,
    triggers: [],
    timeout: 30,
    memory,
    concurrency: 10,
    network: "outbound" as const,
  };
  return { uid: "u1", name: "f", revision: 1, spec };
}

function buildProvider({ maxReplicas = 100, maxMemoryMiB = 1024, poolSize = 0 }) {
  const clock = new ManualClock();
  const sandbox = new FakeSandbox();
  const idle: Replica[] = [];
  const failures: unknown[] = [];
  const info = { name: "nodejs18", language: "nodejs", version: "18", exact: true, available: true, hint: "" } as const;
  const installed = { language: "nodejs", version: "18", line: "18", program: "/usr/bin/node", prefix: undefined } as const;
  const provider = new LocalProvider({
    clock,
    sandbox,
    catalogue: new Map([["nodejs18", { info, installed }]]),
    installHint: () => "",
    runtimesFolder: "/runtimes",
    limits: { maxReplicas, maxMemoryMiB },
    pools: poolSize === 0 ? [] : [{ replicaClass: { runtime: "nodejs18", memoryMiB: 256, network: "outbound" }, size: poolSize }],
    output: { lines: () => undefined, raw: () => undefined, rawDropped: () => undefined, ended: () => undefined },
    python: undefined as never,
    go: undefined,
    goReady: new Promise(() => undefined),
    yieldingReplicas: () => [],
    idleReplicas: () =>
      [...idle].map((replica) => ({
        replica,
        giveUp: () => {
          idle.splice(idle.indexOf(replica), 1);
          replica.drain(60_000);
        },
      })),
    onStartFailed: (error) => failures.push(error),
  });
  const start = (memory = 256): Replica => provider.startReplica(buildRevision(memory), () => "code", "serve");
  return { clock, sandbox, provider, start, idle, failures };
}

describe("LocalProvider", () => {
  test("a code that cannot be read fails its replica and nothing else", async () => {
    const { provider, sandbox } = buildProvider({ maxReplicas: 1 });
    sandbox.atOnce = false;
    const replica = provider.startReplica(buildRevision(256), () => Promise.reject(new KsError("STORE_UNAVAILABLE")), "serve");
    await settle();
    sandbox.processes[0]!.sayHello();
    await assert.rejects(replica.ready, (error: KsError) => error.code === "STORE_UNAVAILABLE");
    await settle();
    assert.equal(sandbox.processes[0]!.gone, true);
    assert.equal(sandbox.living, provider.use.replicas);
  });

  test("a slow start is the platform's, which /ready names until the runtime starts again", async () => {
    const { provider, sandbox, clock, start, failures } = buildProvider({});
    sandbox.atOnce = false;
    const slow = start();
    await settle();
    await clock.advance(29_999);
    assert.equal(slow.accepting, true);
    await clock.advance(1);
    await assert.rejects(slow.ready, (error: KsError) => error instanceof RuntimeNotStarted && error.code === "NO_CAPACITY");
    assert.deepEqual(provider.degraded(), ["runtime-nodejs18-not-starting"]);
    assert.equal(failures.length, 1);
    sandbox.atOnce = true;
    await start().ready;
    assert.deepEqual(provider.degraded(), []);
  });

  test("a runtime that dies before HELLO is the platform's, one that needs more than the function's memory is not", async () => {
    const { sandbox, start } = buildProvider({});
    sandbox.atOnce = false;
    const [dying, large] = [start(), start()];
    await settle();
    sandbox.processes[0]!.end({ code: 1, signal: null });
    sandbox.processes[1]!.end({ code: null, signal: "SIGKILL", outOfMemory: { limitMiB: 256, peakMiB: 256 } });
    await assert.rejects(dying.ready, /the runtime nodejs18 did not start: its process ended with code 1/);
    await assert.rejects(large.ready, (error: KsError) => error.code === "FUNCTION_OUT_OF_MEMORY");
  });

  test("a large function gets the room of as many idle ones as it needs", async () => {
    const { start, idle, sandbox, provider } = buildProvider({});
    for (let i = 0; i < 4; i++) idle.push(start());
    await Promise.all(idle.map((replica) => replica.ready));
    const large = start(700);
    await large.ready;
    assert.equal(idle.length, 1);
    assert.equal(sandbox.living, 2);
    assert.equal(provider.use.memoryMiB, 956);
  });

  test("what cannot have its room takes it from nobody", async () => {
    const { start, idle, sandbox, provider } = buildProvider({ poolSize: 1 });
    provider.start();
    await settle();
    const busy = start(700);
    await busy.ready;
    assert.throws(
      () => start(600),
      (error: KsError) => error.code === "NO_CAPACITY",
    );
    await settle();
    assert.equal(sandbox.living, 2, "the waiting one is still there");
    idle.push(busy);
    await start(600).ready;
    assert.equal(idle.length, 0);
    assert.equal((await provider.poolState())[0]?.waiting, 1, "the large one was enough");
  });

  test("waiting replicas give way, also those that have not started yet, and come back when there is room", async () => {
    const { provider, start, sandbox, clock } = buildProvider({ maxReplicas: 2, poolSize: 2 });
    sandbox.atOnce = false;
    provider.start();
    await settle();
    assert.equal(sandbox.processes.length, 2);
    const odd = start(300);
    sandbox.atOnce = true;
    for (const process of sandbox.processes) process.sayHello();
    await odd.ready;
    await settle();
    assert.equal(provider.use.replicas, 2);
    odd.drain(0);
    await clock.advance(1);
    await settle();
    const pools = await provider.poolState();
    assert.equal(pools.find(({ memoryMiB }) => memoryMiB === 256)?.waiting, 2);
  });

  test("classes that nobody asks for any more are forgotten, and all they held is free", async () => {
    const { provider, start, clock } = buildProvider({ maxMemoryMiB: 100_000 });
    for (let memory = 100; memory < 110; memory++) {
      const replica = start(memory);
      await replica.ready;
      replica.drain(0);
      await clock.advance(1);
    }
    for (let i = 0; i < 4; i++) {
      await clock.advance(11_000);
      await settle();
    }
    assert.deepEqual(await provider.poolState(), []);
    assert.equal(provider.use.memoryMiB, 0);
  });

  test("a replica that is killed while it waits for room is never started", async () => {
    const { start, idle, sandbox, provider } = buildProvider({ maxReplicas: 1 });
    idle.push(start());
    await idle[0]!.ready;
    const unwanted = start();
    unwanted.kill();
    await settle();
    assert.ok(sandbox.processes.every(({ id }) => id !== unwanted.id));
    assert.equal(provider.use.replicas, sandbox.living);
  });
});
