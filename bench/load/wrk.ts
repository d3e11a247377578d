import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const script = join(import.meta.dirname, "post.lua");

export interface LoadRequest {
  url: string;
  bodyFile: string;
  connections: number;
  seconds: number;
  /** Beside the content type, such as `Authorization: …`. */
  headers?: readonly string[];
}

/** What one run of wrk gave. */
export interface LoadResult {
  requests: number;
  seconds: number;
  latencyMs: { p50: number; p90: number; p99: number; max: number };
}

/** The load generator is not there. */
export class MissingToolError extends Error {
  override readonly name = "MissingToolError";
}

/** Its version. @throws MissingToolError which says what to install. */
export async function findWrk(): Promise<string> {
  // It prints its version with its usage, and ends with 1.
  const output = await run("wrk", ["-v"]).catch((error: NodeJS.ErrnoException & { stdout?: string }) => {
    if (error.code === "ENOENT") throw new MissingToolError("wrk is not installed: apt-get install wrk");
    return { stdout: error.stdout ?? "" };
  });
  return /^wrk (\S+)/.exec(output.stdout)?.[1] ?? "unknown";
}

/** Closed loop over keep-alive connections from one thread. @throws where any answer was no success, or a connection failed. */
export async function runWrk({ url, bodyFile, connections, seconds, headers = [] }: LoadRequest): Promise<LoadResult> {
  const options = [
    "-t1",
    `-c${connections}`,
    `-d${seconds}s`,
    "--timeout",
    "10s",
    "-s",
    script,
    ...headers.flatMap((header) => ["-H", header]),
  ];
  const { stdout } = await run("wrk", [...options, url, "--", bodyFile]);
  return parseResult(stdout);
}

/** @throws where the run had errors. */
export function parseResult(stdout: string): LoadResult {
  const line = /^RESULT (.*)$/m.exec(stdout)?.[1];
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}`);
  const raw = JSON.parse(line) as Record<string, number>;
  const failures = ["connect", "read", "write", "status", "timeout"].filter((kind) => raw[kind] !== 0);
  if (failures.length > 0) throw new Error(`the run had errors: ${failures.map((kind) => `${raw[kind]} ${kind}`).join(", ")}`);
  const ms = (field: string): number => raw[field]! / 1000;
  return {
    requests: raw["requests"]!,
    seconds: raw["durationUs"]! / 1e6,
    latencyMs: { p50: ms("p50Us"), p90: ms("p90Us"), p99: ms("p99Us"), max: ms("maxUs") },
  };
}
