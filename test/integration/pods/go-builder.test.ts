import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GoArtifacts } from "../../../packages/server/src/instances/go/go-artifacts.ts";
import type { FrameReplica } from "../../../packages/server/src/instances/frame-replica.ts";
import { PodGoPrograms } from "../../../packages/server/src/instances/kubernetes/go-programs.ts";
import { apiServerMissing } from "../../cluster/api-server.ts";
import { waitFor } from "../../support/server.ts";
import { GO_TOOLKITS, GOS } from "../runtimes/gos.ts";
import { type TestGateway, TestPods } from "./cluster.ts";
import { call } from "./gateway.ts";
import { buildCommand, GO_PODS } from "./go-pod.ts";

const go = GOS.find(({ line }) => line === "1.19")!;
const language = GO_PODS.find(({ name }) => name === go.name)!;
const LIMIT_MS = 30_000;

describe("Go functions in pods", { skip: go.missing ?? apiServerMissing() ?? false }, () => {
  let cluster: TestPods;
  let gateway: TestGateway;
  let folder: string;
  let programs: PodGoPrograms | undefined;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "ks-pod-artifacts-"));
    const builder = await buildCommand(go, "builder");
    const { folder: toolkit } = await GO_TOOLKITS.get(go.program);
    cluster = await TestPods.start({ ...language, builder: { command: [builder], environment: { KS_GO_TOOLKIT: toolkit } } }, 2, "go119");
    const artifacts = new GoArtifacts({ folder, maxBytes: 64 * 1024 * 1024, clock: systemClock });
    gateway = await cluster.gateway("gateway-1", {
      createGo: (builders) => (programs = new PodGoPrograms({ clock: systemClock, artifacts, ...builders })),
    });
  });
  after(async () => {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const start = async (code: string): Promise<FrameReplica> => {
    const revision = await cluster.createFunction();
    gateway.owned.add(revision.uid);
    return gateway.provider.startReplica(revision, () => code, "serve") as FrameReplica;
  };

  test("are compiled in a builder pod, which is used once, and the program is sent to a waiting one", async () => {
    await waitFor("full pools", async () => (await gateway.provider.poolState()).every(({ waiting }) => waiting > 0), LIMIT_MS);
    const builders = cluster.builders().map(({ metadata }) => metadata.uid);
    const replica = await start(language.echo);
    const { body, error } = await call(replica, { x: 1 });
    assert.equal(error, undefined);
    assert.deepEqual(JSON.parse(body.toString()), { a: { x: 1 }, who: replica.revision.name });
    const { compileMs, fromPool } = await replica.ready;
    assert.ok(compileMs !== undefined && compileMs > 0);
    assert.equal(fromPool, true);
    await waitFor(
      "the builder to go",
      () => builders.some((uid) => !cluster.builders().some(({ metadata }) => metadata.uid === uid)),
      LIMIT_MS,
    );
    replica.kill();
    await replica.exited;
  });

  test("the same source is compiled once, and again when its program is gone", async () => {
    const first = await start(language.echo);
    assert.equal((await first.ready).compileMs, 0);
    assert.equal(programs?.compiled, 1);
    await rm(folder, { recursive: true, force: true });
    const second = await start(language.echo);
    assert.ok((await second.ready).compileMs! > 0);
    assert.equal(programs?.compiled, 2);
    for (const replica of [first, second]) replica.kill();
    await Promise.all([first.exited, second.exited]);
  });

  test("errors of the compiler are the function's, by file and line", async () => {
    const replica = await start("package main\nfunc Handler() { return 1 }");
    await assert.rejects(replica.ready, { code: "FUNCTION_FAILED", message: /handler\.go:2/ });
    const missing = await start('package main\nimport "example.com/x"\nfunc Handler() {}');
    await assert.rejects(missing.ready, { code: "FUNCTION_FAILED", message: /ModuleNotFound/ });
  });

  test("a large source is taken whole", async () => {
    const comment = `// ${"x".repeat(100)}\n`.repeat(2000);
    const replica = await start(language.echo.replace("package main\n", `package main\n${comment}`));
    assert.equal((await call(replica, 1)).head?.status, 200);
    replica.kill();
    await replica.exited;
  });
});
