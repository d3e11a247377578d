import assert from "node:assert/strict";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { KsError } from "@kube-serverless/contracts";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { FrameReplica } from "../../../packages/server/src/instances/frame-replica.ts";
import { GoRuntime } from "../../../packages/server/src/instances/local/go/go-runtime.ts";
import { awaitHello, type WaitingReplica } from "../../../packages/server/src/instances/local/waiting-replica.ts";
import type { CatalogueEntry } from "../../../packages/server/src/instances/local/runtimes/catalogue.ts";
import type { RevisionRef } from "../../../packages/server/src/instances/port.ts";
import { openSandbox, type OpenedSandbox, whyNot } from "../sandbox/support.ts";
import { GO_BUILDER, GO_TOOLKITS, GOS } from "./gos.ts";

const go = GOS[0]!;

for (const mode of ["plain", "require"] as const) {
  const driver = mode === "plain" ? "plain processes" : "bubblewrap";
  describe(`Go in ${driver}`, { skip: go.missing ?? (mode === "require" && whyNot("bwrap")) }, () => describeRuntime(mode));
}

function describeRuntime(mode: "plain" | "require"): void {
  let opened: OpenedSandbox;
  let runtime: GoRuntime;
  let functionsFolder: string;
  let launched = 0;

  before(async () => {
    opened = await openSandbox({ mode });
    functionsFolder = join(opened.sandbox.sharedFolder, "go-functions");
    runtime = new GoRuntime({ builder: GO_BUILDER, toolkits: GO_TOOLKITS, sandbox: opened.sandbox, functionsFolder });
    await runtime.start();
  });
  after(() => opened.close());

  async function launch(): Promise<WaitingReplica> {
    launched += 1;
    const id = `go-${launched}`;
    const { functionFolder, ...plan } = await runtime.planLauncher(id);
    const process = await opened.sandbox.spawn({ id, ...plan, memoryMiB: 64, network: "none" });
    return awaitHello({ process, functionFolder, runtime: "go119", memoryMiB: 64 }, systemClock, 10_000);
  }

  async function serve(waiting: WaitingReplica, code: string): Promise<FrameReplica> {
    const artifact = await go.build(code);
    return specialise(waiting, code, () => runtime.link(artifact, waiting.functionFolder!));
  }

  async function specialise(waiting: WaitingReplica, code: string, link: () => Promise<void>): Promise<FrameReplica> {
    const revision = buildRevision();
    await link();
    const { process } = waiting;
    const replica = new FrameReplica({
      id: process.id,
      revision,
      clock: systemClock,
      loadTimeoutMs: 10_000,
      onPrinted() {},
      onAbandoned() {},
    });
    process.stdout.resume();
    process.stderr.resume();
    replica.specialise(
      { socket: process.frames, kill: () => process.kill() },
      { code: Buffer.from(code), module: undefined, concurrency: 10, runtimeVersion: "", fromPool: true, startMs: 0 },
    );
    process.frames.resume();
    return replica;
  }

  test("a waiting launcher becomes the function, from a program it cannot change", async () => {
    const waiting = await launch();
    const replica = await serve(
      waiting,
      `package main
       import ("os"; "fmt"; "path/filepath")
       func Handler() any {
         self, _ := os.Executable()
         writing := os.WriteFile(self, nil, 0o755)
         other := os.WriteFile(filepath.Join(filepath.Dir(self), "other"), nil, 0o755)
         names, _ := filepath.Glob(filepath.Dir(self) + "/*")
         return []any{writing != nil, fmt.Sprint(other), len(names)}
       }`,
    );
    const [cannotWrite, other, names] = JSON.parse(await call(replica));
    assert.equal(cannotWrite, true);
    if (mode === "require") assert.match(other, /read-only file system/);
    assert.equal(names, mode === "plain" ? names : 1);
    replica.kill();
    await waiting.process.exited;
    await runtime.release(waiting.functionFolder!);
    assert.deepEqual(await readdir(functionsFolder), []);
  });

  test("the program is one file for all replicas", async () => {
    const code = "package main\nfunc Handler() int { return 1 }";
    const waiting = [await launch(), await launch()];
    const replicas = await Promise.all(waiting.map((one) => serve(one, code)));
    for (const replica of replicas) assert.equal(await call(replica), "1");
    const files = await Promise.all(waiting.map((one) => stat(join(one.functionFolder!, "handler"))));
    assert.equal(files[0]?.ino, files[1]?.ino);
    for (const replica of replicas) replica.kill();
    await Promise.all(waiting.map((one) => one.process.exited));
    for (const one of waiting) await runtime.release(one.functionFolder!);
  });

  test("a program that was thrown away while its replica waited is compiled once more", async () => {
    const code = `package main\nfunc Handler() string { return "again ${mode}" }`;
    const program = await runtime.build(buildRevision(), code, buildEntry());
    const compiledBefore = GO_BUILDER.compiled;
    await rm(dirname(await go.build(code)), { recursive: true });
    const waiting = await launch();
    const replica = specialise(waiting, code, () => program.link(waiting.functionFolder!));
    assert.equal(await call(await replica), `again ${mode}`);
    assert.ok(GO_BUILDER.compiled > compiledBefore);
    (await replica).kill();
    await waiting.process.exited;
    await runtime.release(waiting.functionFolder!);
  });

  test("what an earlier run left is removed at start", async () => {
    await launch();
    assert.notDeepEqual(await readdir(functionsFolder), []);
    await runtime.start();
    assert.deepEqual(await readdir(functionsFolder), []);
  });

  test("an idle launcher takes little memory", async (t) => {
    const waiting = await launch();
    const pssKiB = await readPss(waiting.process.pid);
    t.diagnostic(`PSS ${pssKiB} KiB`);
    assert(pssKiB < 8 * 1024, `${pssKiB} KiB`);
  });
}

/** Of everything below the process. */
async function readPss(pid: number): Promise<number> {
  const own = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "")).split(" ").filter((child) => child !== "");
  const below = await Promise.all(children.map((child) => readPss(Number(child))));
  return Number(own.match(/^Pss: +(\d+)/m)?.[1] ?? 0) + below.reduce((sum, size) => sum + size, 0);
}

function buildEntry(): CatalogueEntry {
  const info = { name: "go119", language: "go", version: go.line, exact: true, available: true, hint: "" } as const;
  return { info, installed: { language: "go", version: go.line, line: go.line, program: go.program, prefix: undefined } };
}

function buildRevision(): RevisionRef {
  return {
    uid: "u-1",
    name: "hello",
    revision: 1,
    spec: {
      name: "hello",
      runtime: "go119",
      handler: "Handler",
      environment: {},
      minReplicas: 0,
      maxReplicas: 1,
      triggers: [],
      timeout: 30,
      memory: 64,
      concurrency: 10,
      network: "none",
    },
  };
}

function call(replica: FrameReplica): Promise<string> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    const head = {
      id: "r-1",
      method: "POST",
      path: "/invoke",
      query: {},
      headers: {},
      trigger: { type: "invoke" as const },
      timeoutMs: 30_000,
    };
    const take = (piece: Buffer, more: boolean): void => {
      pieces.push(Buffer.from(piece));
      if (!more) resolve(Buffer.concat(pieces).toString());
    };
    replica.call(head, [], {
      onHead: (_head, piece, more) => take(piece, more),
      onData: take,
      onError: (error: KsError) => reject(error),
      onNotStarted: (error: KsError) => reject(error),
      onStalled: () => undefined,
    });
  });
}
