import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { join } from "node:path";
import { runStage } from "../../scripts/test/run-stage.ts";
import type { Stage } from "../../scripts/test/stages.ts";
import { formatTotals, Tally } from "../../scripts/test/tally.ts";
import { findOnPath } from "./binaries.ts";

const folder = import.meta.dirname;
const root = join(folder, "../..");
const MINUTE_MS = 60_000;
/** The installation, what depends on where a function's owner and replicas are, and the faults of everyday. */
const QUICK = [
  "cluster/install",
  ...["lifecycle", "triggers-http", "observe", "queue", "cron.", "scaling"].map((name) => `conformance/${name}`),
  ...["platform/held", "platform/network", "faults/kills", "faults/planned"],
];
/** Parts of the others once more, on servers of its own. */
const WITH_KEY = "with-key.test.ts";

/**
 * `npm run test:cluster [-- words]`: the chart, the conformance suite and the faults on a real cluster, that of KUBECONFIG or one of
 * two nodes that is started here and ended afterwards; `--keep` leaves it running, and a running one is used as it is. `--quick` is what a
 * cluster is likeliest to break.
 */
async function main(args: readonly string[]): Promise<void> {
  const chosen = args.filter((argument) => !argument.startsWith("--"));
  const words = args.includes("--quick") ? [...QUICK, ...chosen] : chosen;
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
  const end = wasRunning || args.includes("--keep") ? () => undefined : endAtExit();
  if (!wasRunning) step("a cluster of two nodes starts", "cluster.sh", "up", "2");
  const brokerUrl = step("RabbitMQ starts", "cluster.sh", "broker");
  const tag = step("images are built and imported", "images.sh", "import");
  // The nodes' addresses are in a network namespace, and so must be whoever calls them.
  const inside = spawn("nsenter", ["--net=/run/netns/ks-test", process.execPath, import.meta.filename, "--inside", ...words], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, KS_TEST_IMAGE_TAG: tag, KS_TEST_BROKER_URL: brokerUrl },
  });
  let printed = "";
  inside.stdout.on("data", (chunk: Buffer) => {
    process.stdout.write(chunk);
    printed = (printed + chunk.toString()).slice(-1000);
  });
  const [code] = (await once(inside, "close")) as [number | null];
  end();
  // Once more behind whatever the end has said: whoever reads the last line reads the result.
  console.log(`\n${printed.trimEnd().split("\n").at(-1) ?? ""}`);
  process.exitCode = code ?? 1;
}

/** Nothing of the cluster stays behind, however this process ends. @returns what ends it now */
function endAtExit(): () => void {
  const end = (): void => {
    process.off("exit", end);
    step("the cluster ends", "cluster.sh", "down");
  };
  process.once("exit", end);
  process.once("SIGINT", () => process.exit(130)).once("SIGTERM", () => process.exit(143));
  return end;
}

/** Runs a script of this folder, and says how long it took. @returns what it printed. @throws when it fails */
function step(what: string, name: string, ...args: string[]): string {
  const startMs = performance.now();
  const printed = execFileSync(join(folder, name), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  console.log(`${what} (${((performance.now() - startMs) / 1000).toFixed(0)} s)`);
  return printed.trim();
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
    { name: "conformance", files: inFolder("test/conformance/**/*.test.ts").filter((file) => !file.endsWith(WITH_KEY)), concurrency: 1 },
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
