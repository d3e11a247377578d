import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { createSandbox } from "../../../packages/server/src/instances/local/sandbox/create-sandbox.ts";
import type { SandboxOptions } from "../../../packages/server/src/instances/local/sandbox/options.ts";
import type { Sandbox, SandboxExit, SandboxedProcess, SandboxSpec } from "../../../packages/server/src/instances/local/sandbox/port.ts";

export const isRoot = process.getuid?.() === 0;
export const PYTHON = "/usr/bin/python3";
export const SHELL = "/bin/sh";

/** Why the tests of the sandbox can't run here, naming what to install; undefined where they can. */
export function whyNot(...programs: readonly string[]): string | false {
  const missing = programs.find(
    (program) => !["/usr/bin", "/usr/sbin", "/bin", "/sbin"].some((folder) => existsSync(join(folder, program))),
  );
  return missing === undefined ? false : `${missing} is not installed (Debian: ${PACKAGES[missing] ?? missing})`;
}

const PACKAGES: Record<string, string> = { bwrap: "bubblewrap", pasta: "passt", ip: "iproute2", python3: "python3", setpriv: "util-linux" };

export interface OpenedSandbox {
  sandbox: Sandbox;
  folder: string;
  warnings: string[];
  close(): Promise<void>;
}

/** A sandbox with a runtime folder of its own, which is removed with it. */
export async function openSandbox(options: Partial<SandboxOptions> = {}): Promise<OpenedSandbox> {
  const folder = mkdtempSync(join(tmpdir(), "ks-sandbox-"));
  const warnings: string[] = [];
  const log = {
    info: () => undefined,
    warn: (fields: object, message: string) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
  };
  const sandbox = await createSandbox({ runtimeFolder: folder, runAsRoot: isRoot, log, ...options });
  const close = async () => {
    await sandbox.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { sandbox, folder, warnings, close };
}

let spawned = 0;

export function spec(command: readonly string[], more: Partial<SandboxSpec> = {}): SandboxSpec {
  spawned += 1;
  return { id: `test-${spawned}`, command, environment: {}, memoryMiB: 128, network: "none", binds: [], ...more };
}

export interface Ended extends SandboxExit {
  stdout: string;
  stderr: string;
}

export async function run(sandbox: Sandbox, command: readonly string[], more: Partial<SandboxSpec> = {}): Promise<Ended> {
  return end(await sandbox.spawn(spec(command, more)));
}

export async function end(process: SandboxedProcess): Promise<Ended> {
  process.frames.resume();
  const [stdout, stderr, exit] = await Promise.all([text(process.stdout), text(process.stderr), process.exited]);
  return { ...exit, stdout, stderr };
}

/** Runs Python inside; what it prints is the result. */
export async function python(sandbox: Sandbox, code: string, more: Partial<SandboxSpec> = {}): Promise<Ended> {
  return run(sandbox, [PYTHON, "-I", "-S", "-c", code], more);
}

export async function readLine(process: SandboxedProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = "";
    process.stdout.on("data", (chunk: Buffer) => {
      seen += chunk.toString();
      if (seen.includes("\n")) resolve(seen.slice(0, seen.indexOf("\n")));
    });
    process.stdout.once("end", () => reject(new Error(`ended after ${JSON.stringify(seen)}`)));
  });
}

export async function waitUntil(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    assert.ok(performance.now() < deadlineMs, `not within ${timeoutMs} ms: ${what}`);
    await delay(10);
  }
}

/** Live processes of the machine whose arguments hold the mark. */
export function findProcesses(mark: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes(mark);
      } catch {
        return false;
      }
    })
    .map(Number);
}

let marks = 0;

/** A number of seconds for `sleep` that no other process sleeps for. */
export function sleepMark(): string {
  marks += 1;
  return `${3_000 + marks}.${process.pid}`;
}
