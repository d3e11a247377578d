import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Sandbox, SandboxExit, SandboxSpec } from "./port.ts";

export interface SandboxedRun extends Omit<SandboxSpec, "id"> {
  /** Begins the id, which is made unique. `[a-z0-9-]+` @default "run" */
  id?: string;
  timeoutMs: number;
  /** What is kept of each output, from its beginning; the rest is read and thrown away. @default 262144 */
  maxOutputBytes?: number;
  /** Ends the run early. */
  signal?: AbortSignal;
}

export interface SandboxedResult extends SandboxExit {
  stdout: string;
  stderr: string;
  /** Whether something of either output was thrown away. */
  truncated: boolean;
  timedOut: boolean;
  aborted: boolean;
}

const DEFAULT_OUTPUT_BYTES = 256 * 1024;
/** A process that left a plain sandbox may hold a pipe open for ever. */
const OUTPUT_GRACE_MS = 500;

let runs = 0;

/** Runs one command to its end, or to the end of its time, and tells how it went and what it printed. */
export async function runInSandbox(sandbox: Sandbox, run: SandboxedRun): Promise<SandboxedResult> {
  const { id = "run", timeoutMs, maxOutputBytes = DEFAULT_OUTPUT_BYTES, signal, ...spec } = run;
  runs += 1;
  const process = await sandbox.spawn({ ...spec, id: `${id}-${runs}` });
  const stdout = collect(process.stdout, maxOutputBytes);
  const stderr = collect(process.stderr, maxOutputBytes);
  process.frames.resume();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    process.kill();
  }, timeoutMs);
  const abort = () => process.kill();
  signal?.addEventListener("abort", abort);
  if (signal?.aborted === true) abort();
  const exit = await process.exited;
  clearTimeout(timer);
  signal?.removeEventListener("abort", abort);
  await Promise.race([Promise.all([stdout.ended, stderr.ended]), delay(OUTPUT_GRACE_MS, undefined, { ref: false })]);
  for (const stream of [process.stdout, process.stderr, process.frames]) stream.destroy();
  return {
    ...exit,
    stdout: stdout.text(),
    stderr: stderr.text(),
    truncated: stdout.isTruncated() || stderr.isTruncated(),
    timedOut,
    aborted: signal?.aborted === true,
  };
}

function collect(stream: Readable, maxBytes: number) {
  const chunks: Buffer[] = [];
  let kept = 0;
  let seen = 0;
  stream.on("data", (chunk: Buffer) => {
    seen += chunk.length;
    if (kept >= maxBytes) return;
    chunks.push(chunk.subarray(0, maxBytes - kept));
    kept += Math.min(chunk.length, maxBytes - kept);
  });
  const ended = new Promise<void>((resolve) => {
    stream.once("close", resolve);
    stream.once("end", resolve);
  });
  return { ended, text: () => Buffer.concat(chunks).toString("utf8"), isTruncated: () => seen > kept };
}
