import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BuildResult, BuildSpec } from "../../go/build-run.ts";

/** A program larger than this isn't kept. */
export const MAX_PROGRAM_BYTES = 128 * 1024 * 1024;
const MAX_STDERR_BYTES = 256 * 1024;

/** Bounded collection of what a build writes. */
export class BuildOutput {
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  #stdoutBytes = 0;
  #stderrBytes = 0;

  /** False when there is too much. */
  addStdout(chunk: Buffer): boolean {
    this.#stdoutBytes += chunk.length;
    if (this.#stdoutBytes > MAX_PROGRAM_BYTES) return false;
    this.#stdout.push(chunk);
    return true;
  }

  addStderr(chunk: Buffer): void {
    if (this.#stderrBytes < MAX_STDERR_BYTES) this.#stderr.push(chunk);
    this.#stderrBytes += chunk.length;
  }

  result(code: number | null, ended: BuildResult["ended"]): BuildResult {
    const result: BuildResult = { code, stdout: Buffer.concat(this.#stdout), stderr: Buffer.concat(this.#stderr).toString("utf8") };
    if (ended !== undefined) result.ended = ended;
    return result;
  }
}

/** Runs builds as plain process groups, for where there is no sandbox; memory isn't bounded. */
export async function runPlainBuild(spec: BuildSpec): Promise<BuildResult> {
  const folder = await mkdtemp(join(tmpdir(), "kube-serverless-build-"));
  try {
    return await runGroup(spec, { ...spec.environment, TMPDIR: folder });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runGroup(spec: BuildSpec, environment: Record<string, string>): Promise<BuildResult> {
  return new Promise((resolve, reject) => {
    const [program = "", ...args] = spec.command;
    const child = spawn(program, args, { env: environment, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const output = new BuildOutput();
    let ended: BuildResult["ended"];
    const end = (reason: NonNullable<BuildResult["ended"]>): void => {
      ended ??= reason;
      killGroup(child.pid);
    };
    const timer = setTimeout(() => end("timeout"), spec.timeoutMs);
    const abort = (): void => end("aborted");
    spec.signal?.addEventListener("abort", abort);
    if (spec.signal?.aborted === true) abort();
    const settle = (): void => {
      clearTimeout(timer);
      spec.signal?.removeEventListener("abort", abort);
      killGroup(child.pid);
    };
    child.stdout.on("data", (chunk: Buffer) => void (output.addStdout(chunk) || end("output")));
    child.stderr.on("data", (chunk: Buffer) => output.addStderr(chunk));
    // A compiler that ends early doesn't read its input.
    child.stdin.on("error", () => undefined);
    child.stdin.end(spec.input);
    child.on("error", (error) => {
      settle();
      reject(error);
    });
    child.on("close", (code) => {
      settle();
      resolve(output.result(code, ended));
    });
  });
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}
