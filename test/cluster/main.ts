import { execFileSync, spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { runStage } from "../../scripts/test/run-stage.ts";
import type { Stage } from "../../scripts/test/stages.ts";
import { formatTotals, Tally } from "../../scripts/test/tally.ts";
import { findOnPath } from "./binaries.ts";

const folder = import.meta.dirname;
const root = join(folder, "../..");
const MINUTE_MS = 60_000;

/**
 * `npm run test:cluster [-- words]`: the chart, the conformance suite and the faults on a real cluster, that of KUBECONFIG or one of
 * two nodes that is started here and ended afterwards; `--keep` leaves it running, and a running one is used as it is.
 */
async function main(args: readonly string[]): Promise<void> {
  const words = args.filter((argument) => !argument.startsWith("--"));
  if (args.includes("--inside")) return runTests(words);
  if ((process.env["KUBECONFIG"] ?? "") !== "") {
    process.env["KS_TEST_CLUSTER"] = "foreign";
    return runTests(words);
  }
  const missing = explainMissing();
  if (missing !== undefined) {
    console.log(`Left out: ${missing}\n\n0 passed, 0 failed, 1 skipped`);
    process.exitCode = process.env["KS_TEST_NOTHING_SKIPPED"] === "1" ? 1 : 0;
    return;
  }
  const wasRunning = spawnSync(join(folder, "cluster.sh"), ["kubectl", "get", "nodes"], { stdio: "ignore" }).status === 0;
  if (!wasRunning) script("cluster.sh", "up", "2");
  try {
    const tag = execFileSync(join(folder, "images.sh"), ["import"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
    // The nodes' addresses are in a network namespace, and so must be whoever calls them.
    const inside = spawnSync(join(folder, "cluster.sh"), ["run", process.execPath, import.meta.filename, "--inside", ...words], {
      stdio: "inherit",
      env: { ...process.env, KS_TEST_IMAGE_TAG: tag },
    });
    process.exitCode = inside.status ?? 1;
  } finally {
    if (!wasRunning && !args.includes("--keep")) script("cluster.sh", "down");
  }
}

function script(name: string, ...args: string[]): void {
  execFileSync(join(folder, name), args, { stdio: ["ignore", "inherit", "inherit"] });
}

function explainMissing(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    return "a cluster of its own needs root on Debian; or name one by KUBECONFIG";
  if (findOnPath("debootstrap") === undefined || findOnPath("buildah") === undefined) return "needs debootstrap and buildah: see .ci/run";
  return undefined;
}

/** In the order in which a fault spoils least. */
function findStages(words: readonly string[]): Stage[] {
  const inFolder = (pattern: string): string[] => globSync(pattern, { cwd: root }).sort();
  const stages = [
    { name: "install", files: inFolder("test/cluster/install/**/*.test.ts"), concurrency: 1 },
    { name: "conformance", files: inFolder("test/conformance/**/*.test.ts"), concurrency: 2 },
    { name: "cluster", files: inFolder("test/cluster/platform/**/*.test.ts"), concurrency: 1 },
    { name: "faults", files: inFolder("test/cluster/faults/**/*.test.ts"), concurrency: 1 },
  ];
  return stages
    .map((stage) => ({ ...stage, testTimeoutMs: 10 * MINUTE_MS, fileTimeoutMs: 30 * MINUTE_MS, needsGo: false }))
    .map((stage) => ({ ...stage, files: stage.files.filter((file) => words.length === 0 || words.some((word) => file.includes(word))) }))
    .filter(({ files }) => files.length > 0);
}

async function runTests(words: readonly string[]): Promise<void> {
  const { ensureInstalled, publicOrigin } = await import("./support/platform.ts");
  const tally = new Tally();
  for (const stage of findStages(words)) {
    console.log(`\n${stage.name}: ${stage.files.length} files`);
    if (stage.name !== "install") {
      await ensureInstalled();
      process.env["KS_CONFORMANCE_URL"] = await publicOrigin();
    }
    await runStage(root, stage, tally, new AbortController().signal);
  }
  if (tally.skippedCount > 0) console.log("\nLeft out:");
  for (const [reason, count] of tally.skipped) console.log(`  ${count} × ${reason}`);
  console.log(`\n${formatTotals(tally)}`);
  process.exitCode = tally.failed === 0 && tally.passed > 0 ? 0 : 1;
}

await main(process.argv.slice(2));
