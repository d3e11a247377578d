import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { createRequire } from "node:module";
import { join } from "node:path";
import { findWrk } from "./load/wrk.ts";

const projectFolder = join(import.meta.dirname, "..");

/** Where and of what the figures are. */
export interface MachineFacts {
  date: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  os: string;
  kernel: string;
  node: string;
  undici: string;
  wrk: string;
  /** With `+` behind it where files differed from it. */
  commit: string;
}

/** @throws MissingToolError where the load generator is missing. */
export async function describeMachine(): Promise<MachineFacts> {
  const { version } = createRequire(import.meta.url)("undici/package.json") as { version: string };
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: readOsName(),
    kernel: release(),
    node: process.versions.node,
    undici: version,
    wrk: await findWrk(),
    commit: readCommit(),
  };
}

function readOsName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}

function readCommit(): string {
  const git = (...args: string[]): string => execFileSync("git", ["-C", projectFolder, ...args], { encoding: "utf8" }).trim();
  try {
    return git("rev-parse", "--short=10", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}
