import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { killQuietly } from "./sandbox/process-tree.ts";

export interface TiedOptions {
  cwd: string;
  env: Readonly<Record<string, string>>;
  timeoutMs: number;
  signal: AbortSignal;
}

/** The pipe closes with this process, however it ends: then the whole group is killed. At low priority, as it works beside calls. */
const SCRIPT = '{ read -r _ <&3; kill -9 0; } >/dev/null 2>&1 & exec 3<&-; nice -n 7 "$@"';

/**
 * What a program of ours prints. It and all that it starts end with the server, by SIGKILL, too.
 * @throws Error with what it wrote to descriptor 2; the signal's reason when that ended it
 */
export async function runTied(command: readonly string[], { cwd, env, timeoutMs, signal }: TiedOptions): Promise<string> {
  signal.throwIfAborted();
  const child = spawn("/bin/sh", ["-c", SCRIPT, "sh", ...command], {
    cwd,
    env,
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const end = (): void => {
    if (child.pid !== undefined) killQuietly(-child.pid);
  };
  const timer = setTimeout(end, timeoutMs);
  signal.addEventListener("abort", end);
  try {
    const ended = new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
    // The guard waits for its pipe, and `close` for the pipe as well.
    child.once("exit", end);
    const [output, errors, code] = await Promise.all([text(child.stdout as Readable), text(child.stderr as Readable), ended]);
    signal.throwIfAborted();
    if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code ?? "a signal"}: ${errors.slice(-4096)}`);
    return output;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
