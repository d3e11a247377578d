import { join } from "node:path";
import { prepareGo } from "./test/prepare-go.ts";
import { runStage } from "./test/run-stage.ts";
import { findStages } from "./test/stages.ts";
import { formatTotals, Tally } from "./test/tally.ts";

/** `npm test [-- words]`: every test, or those whose file's path holds one of the words. */
async function main(words: readonly string[]): Promise<void> {
  const root = join(import.meta.dirname, "..");
  const stages = findStages(root, words);
  const tally = new Tally();
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
  if (stages.length === 0) console.log(`No test file has ${words.map((word) => `'${word}'`).join(" or ")} in its path.`);
  for (const stage of stages) {
    if (interrupted.signal.aborted) break;
    if (stage.needsGo) await prepareGo((line) => console.log(line));
    console.log(`\n${stage.name}: ${stage.files.length} files`);
    await runStage(root, stage, tally, interrupted.signal);
  }
  if (tally.skippedCount > 0) console.log("\nLeft out:");
  for (const [reason, count] of tally.skipped) console.log(`  ${count} × ${reason}`);
  const maySkip = process.env["KS_TEST_NOTHING_SKIPPED"] !== "1";
  if (!maySkip && tally.skippedCount > 0) console.log("Tests were left out where everything must run (KS_TEST_NOTHING_SKIPPED=1).");
  const isGood = tally.failed === 0 && tally.passed > 0 && (maySkip || tally.skippedCount === 0) && !interrupted.signal.aborted;
  console.log(`\n${formatTotals(tally)}`);
  // What a test left open must not keep the verdict waiting.
  process.exit(isGood ? 0 : 1);
}

await main(process.argv.slice(2));
