import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { systemClock } from "../../../packages/server/src/clock.ts";
import { GoArtifacts } from "../../../packages/server/src/instances/go/go-artifacts.ts";
import { GoBuilder } from "../../../packages/server/src/instances/go/go-builder.ts";
import { ProgramProbes } from "../../../packages/server/src/instances/local/runtimes/program-probes.ts";
import { detectGo, type GoToolchain } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import { GoToolkits } from "../../../packages/server/src/instances/local/go/go-toolkits.ts";
import { runPlainBuild } from "../../../packages/server/src/instances/local/go/run-build.ts";
import { FrameType } from "../../../packages/server/src/protocol/frames.ts";
import type { ShimLanguage } from "./languages.ts";
import { type Json, Shim } from "./support.ts";
import { type LoadShim, useShims } from "./use-shims.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** Kept from run to run, as the server keeps its own: compiling a standard library takes half a minute. Each user has one. */
export const GO_CACHE = join(tmpdir(), `kube-serverless-test-go-${userInfo().uid}`);

/** What `go1.19` means on a machine that has other versions too. */
export const GO_LINES = ["1.19", "1.26"] as const;
export type GoLine = (typeof GO_LINES)[number];

const detected = await detectGo({
  searchPath: (process.env["PATH"] ?? "").split(delimiter),
  named: new Map(),
  probes: await ProgramProbes.open(undefined),
});
export const GO_TOOLCHAINS: readonly GoToolchain[] = detected.installed.filter(({ line }) => GO_LINES.some((wanted) => wanted === line));

const toolkits = new GoToolkits({
  toolchains: GO_TOOLCHAINS,
  sourceFolder: join(ROOT, "runtimes/go"),
  folder: join(GO_CACHE, "toolkits"),
  clock: systemClock,
});
let prepared: Promise<void> | undefined;

/** All there once any is asked for; made by one test file while the others wait. */
export const GO_TOOLKITS: Pick<GoToolkits, "get" | "getAny" | "keyOf"> = {
  async get(program) {
    await prepareOnce();
    return toolkits.get(program);
  },
  async getAny() {
    await prepareOnce();
    return toolkits.getAny();
  },
  keyOf: (program) => toolkits.keyOf(program),
};

function prepareOnce(): Promise<void> {
  prepared ??= withLock(join(GO_CACHE, "lock"), async () => {
    for (const { program } of GO_TOOLCHAINS) await toolkits.get(program);
  });
  return prepared;
}

/** One process at a time; a holder that is gone holds nothing. */
async function withLock(path: string, task: () => Promise<void>): Promise<void> {
  await mkdir(GO_CACHE, { recursive: true });
  for (;;) {
    try {
      await writeFile(path, String(process.pid), { flag: "wx" });
      break;
    } catch {
      const holder = await readFile(path, "utf8").catch(() => "");
      if (holder !== "" && !existsSync(`/proc/${holder}`)) await rm(path, { force: true });
      await delay(100);
    }
  }
  try {
    await task();
  } finally {
    await rm(path, { force: true });
  }
}

/** One that finds what earlier runs of this test file compiled; one process at a time owns such a folder. */
export const GO_BUILDER = new GoBuilder({
  toolkits: GO_TOOLKITS,
  artifacts: new GoArtifacts({
    folder: join(GO_CACHE, "artifacts", basename(process.argv[1] ?? "")),
    maxBytes: 256 * 1024 * 1024,
    clock: systemClock,
  }),
  run: runPlainBuild,
  stage: async (source) => ({ source, target: source }),
});

export interface Go extends ShimLanguage {
  line: GoLine;
  /** The go command; empty where it is missing. */
  program: string;
  /** Path of the compiled program. */
  build(source: string, handler?: string): Promise<string>;
  /** A waiting launcher that becomes this program. */
  launch(program: string): Promise<Shim>;
}

function describeGo(line: GoLine): Go {
  const program = GO_TOOLCHAINS.find((toolchain) => toolchain.line === line)?.program;
  const build = (code: string, handler = "Handler"): Promise<string> =>
    GO_BUILDER.build({ code, handler, program: program ?? "", language: "go1.19" });
  const launch = async (artifact: string): Promise<Shim> => {
    const { launcher } = await GO_TOOLKITS.get(program ?? "");
    return new Shim({ command: [launcher, artifact] });
  };
  return {
    name: `go${line.replace(".", "")}`,
    language: "go",
    line,
    program: program ?? "",
    missing: program === undefined ? `Go ${line} is missing: apt-get install golang-${line}-go, or unpack it at /usr/local/go` : undefined,
    build,
    launch,
    start: async (source) => launch(await build(source)),
  };
}

export const GOS: readonly Go[] = GO_LINES.map(describeGo);

/** Their code needs no package clause. */
export function useGoShims(go: Go): LoadShim {
  return useShims({ start: (code) => go.start(`package main\n${code}`) }, { handler: "Handler" });
}

/** The meta of the PONG: everything sent before it has been read. */
export async function ping(shim: Shim): Promise<Json> {
  const token = Buffer.from(String(shim.frames.length).padStart(8, "0"));
  shim.send(FrameType.PING, 0, undefined, token);
  return (await shim.wait("PONG", ({ kind, body }) => kind === FrameType.PONG && body.equals(token))).meta;
}
