import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Progress } from "./progress.ts";
import type { QuietKeeper } from "./system/foreign-load.ts";

/** What every part of the benchmark is given. */
export interface BenchContext {
  progress: Progress;
  quiet: QuietKeeper;
  /** Of everything that is started. */
  environment: NodeJS.ProcessEnv;
  /** For data folders and bodies; removed at the end. */
  folder: string;
}

/** Makes the folder, which goes when the process ends. */
export function createBenchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "kube-serverless-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
