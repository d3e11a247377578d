import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildGoEnvironment } from "../../../packages/server/src/instances/local/go/go-toolchain.ts";
import type { Sandbox } from "../../../packages/server/src/instances/local/sandbox/port.ts";
import { GO_CACHE, GO_TOOLCHAINS } from "../runtimes/gos.ts";
import { PYTHON } from "./support.ts";

type Bind = Awaited<ReturnType<Sandbox["stage"]>>;

/** A program that attempts what its arguments say. */
export interface Attacker {
  language: "python" | "nodejs" | "go";
  command: readonly string[];
  binds: readonly Bind[];
  makesSystemCalls: boolean;
  missing?: string;
}

const FOLDER = join(import.meta.dirname, "attackers");

/** One in each language, made ready for the sandbox. */
export async function findAttackers(sandbox: Sandbox, node: Bind): Promise<Attacker[]> {
  const scripts = await sandbox.stage(FOLDER);
  const inNodejs = [node.target, join(scripts.target, "attacker.js")];
  const inPython = [PYTHON, "-I", "-S", join(scripts.target, "attacker.py")];
  return [
    { language: "python", command: inPython, binds: [scripts], makesSystemCalls: true },
    { language: "nodejs", command: inNodejs, binds: [node, scripts], makesSystemCalls: false },
    await buildInGo(sandbox),
  ];
}

async function buildInGo(sandbox: Sandbox): Promise<Attacker> {
  const attacker = { language: "go", makesSystemCalls: true, command: [], binds: [] } as const;
  const [toolchain] = GO_TOOLCHAINS;
  if (toolchain === undefined) return { ...attacker, missing: "Go is missing: apt-get install golang-1.19-go" };
  const home = join(GO_CACHE, `home-${toolchain.version}`);
  await mkdir(home, { recursive: true });
  const program = join(home, `attacker-${process.pid}`);
  const build = ["build", "-o", program, join(FOLDER, "attacker.go")];
  await promisify(execFile)(toolchain.program, build, { env: buildGoEnvironment(home), cwd: FOLDER });
  const staged = await sandbox.stage(program);
  return { ...attacker, command: [staged.target], binds: [staged] };
}
