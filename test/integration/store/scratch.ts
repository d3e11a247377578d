import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A folder of the test's own, removed by `remove`. */
export function makeScratch(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "ks-store-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Where a store in a test goes that must never break. */
export function failOnFatal(error: Error): void {
  throw error;
}

/** Starts a program beside this file with this Node.js. */
export function startProgram(file: string, args: readonly string[], prefix: readonly string[] = []): ChildProcessWithoutNullStreams {
  const [command, ...rest] = [...prefix, process.execPath, join(import.meta.dirname, file), ...args];
  return spawn(command as string, rest);
}

export interface Ended {
  lines: string[];
  stderr: string;
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** What a program wrote until it ended; `onLine` sees each line as it comes, and ends the program by throwing. */
export async function readToEnd(child: ChildProcessWithoutNullStreams, onLine: (line: string) => void = () => {}): Promise<Ended> {
  const lines: string[] = [];
  let stderr = "";
  let failure: unknown;
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (failure !== undefined) return;
    lines.push(line);
    try {
      onLine(line);
    } catch (error) {
      failure = error;
      child.kill("SIGKILL");
    }
  });
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (...how) => resolve(how)),
  );
  if (failure !== undefined) throw failure;
  return { lines, stderr, code, signal };
}

/** Waits until `condition` holds. */
export async function waitFor(what: string, condition: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`Waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
