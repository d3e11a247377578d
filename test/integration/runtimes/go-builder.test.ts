import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GoArtifacts } from "../../../packages/server/src/instances/go/go-artifacts.ts";
import { GoBuilder, type GoBuilderOptions } from "../../../packages/server/src/instances/go/go-builder.ts";
import { runPlainBuild } from "../../../packages/server/src/instances/local/go/run-build.ts";
import { createSandboxedBuild } from "../../../packages/server/src/instances/local/go/sandboxed-build.ts";
import { openSandbox, type OpenedSandbox, whyNot } from "../sandbox/support.ts";
import { GO_TOOLKITS, GOS } from "./gos.ts";

const go = GOS[0]!;
const skip = go.missing ?? whyNot("bwrap");

describe("builds without a sandbox", { skip: go.missing ?? false }, () => {
  describeBuilds(async () => ({ run: runPlainBuild, stage: async (source) => ({ source, target: source }) }));
});

describe("builds in bubblewrap", { skip }, () => {
  let opened: OpenedSandbox;
  before(async () => void (opened = await openSandbox({ mode: "require" })));
  after(() => opened.close());
  describeBuilds(async () => ({ run: createSandboxedBuild(opened.sandbox, systemClock), stage: (source) => opened.sandbox.stage(source) }));

  test("a compiler that takes too much memory is ended, and says so", async (t) => {
    const make = await prepare(t, {
      run: createSandboxedBuild(opened.sandbox, systemClock),
      stage: (source) => opened.sandbox.stage(source),
    });
    const { builder } = make({ memoryMiB: 64 });
    const functions = Array.from({ length: 20_000 }, (_, i) => `func f${i}(a []int) int { return a[${i}] * ${i} }\n`).join("");
    const code = `package main\n${functions}func Handler() int { return f1(nil) }\n`;
    await assert.rejects(builder.build(request(code)), /^KsError: CompileError: compiling took more than 64 MiB of memory/);
  });
});

type Way = Pick<GoBuilderOptions, "run" | "stage">;
interface Made {
  builder: GoBuilder;
  artifacts: GoArtifacts;
  folder: string;
}

function request(code: string, handler = "Handler") {
  return { code, handler, program: go.program, language: "go1.19" };
}

async function prepare(t: { after(fn: () => Promise<void>): void }, way: Way): Promise<(options?: Partial<GoBuilderOptions>) => Made> {
  const folder = await mkdtemp(join(tmpdir(), "ks-go-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return (options) => {
    const artifacts = new GoArtifacts({ folder, maxBytes: 1e9, clock: systemClock });
    return { builder: new GoBuilder({ toolkits: GO_TOOLKITS, artifacts, ...way, ...options }), artifacts, folder };
  };
}

/** Processes of builds of this handler. */
async function findBuilds(handler: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    const command = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "") : "";
    if (command.includes(handler)) found.push(command);
  }
  return found;
}

function describeBuilds(open: () => Promise<Way>): void {
  const code = "package main\n\nfunc Handler() string { return `built` }\n";

  test("the same code is compiled once, also across starts and under any load", async (t) => {
    const make = await prepare(t, await open());
    const first = make().builder;
    const paths = await Promise.all([1, 2, 3].map(() => first.build(request(code))));
    assert.equal(new Set(paths).size, 1);
    await first.build(request(code));
    assert.equal(first.compiled, 1);
    const second = make().builder;
    assert.equal(await second.build(request(code)), paths[0]);
    assert.equal(second.compiled, 0);
    await second.build(request(code.replace("built", "other")));
    await second.build(request(`${code}func other() {}\n`, "other"));
    assert.equal(second.compiled, 2);
    assert.deepEqual(
      (await readdir(join(paths[0]!, "../.."))).filter((name) => name.startsWith(".")),
      [],
    );
  });

  test("what was built runs", async (t) => {
    const { builder } = (await prepare(t, await open()))();
    const shim = await go.launch(await builder.build(request(code)));
    t.after(() => shim.stop());
    await shim.specialise({ code, handler: "Handler" });
    assert.equal((await shim.call()).body.toString(), "built");
  });

  test("a program that was damaged is compiled again", async (t) => {
    const { builder } = (await prepare(t, await open()))();
    const path = await builder.build(request(code));
    await chmod(path, 0o755);
    await truncate(path, 100_000);
    assert.equal(await builder.build(request(code)), path);
    assert.equal(builder.compiled, 2);
    assert((await readFile(path)).length > 1_000_000);
  });

  test("a build that takes too long is ended with everything it started", async (t) => {
    const { builder } = (await prepare(t, await open()))({ timeoutMs: 1 });
    const handler = `Slow${randomUUID().replaceAll("-", "")}`;
    await assert.rejects(builder.build(request(code, handler)), /^KsError: LoadTimeout: compiling took longer than 0\.001 s/);
    assert.deepEqual(await findBuilds(handler), []);
  });

  test("one who leaves doesn't end the build of the other, the last one does", async (t) => {
    const { builder } = (await prepare(t, await open()))();
    const leaver = new AbortController();
    const left = builder.build({ ...request(code), signal: leaver.signal });
    const stayed = builder.build(request(code));
    leaver.abort(new Error("superseded"));
    await assert.rejects(left, /superseded/);
    await stayed;
    assert.equal(builder.compiled, 1);

    const handler = `Gone${randomUUID().replaceAll("-", "")}`;
    const last = new AbortController();
    const alone = builder.build({ ...request(code, handler), signal: last.signal });
    last.abort(new Error("superseded"));
    await assert.rejects(alone, /superseded/);
    await assert.rejects(builder.build(request(code, handler)), /HandlerNotFound/);
    assert.deepEqual(await findBuilds(handler), []);
  });

  test("the compiler's words are about the user's lines", async (t) => {
    const { builder } = (await prepare(t, await open()))();
    await assert.rejects(
      builder.build(request("package main\n\nfunc Handler( {")),
      /^KsError: SyntaxError: handler\.go:3:15: syntax error/,
    );
  });
}
