import { relative } from "node:path";
import { run } from "node:test";
import { absolutePaths, type Stage } from "./stages.ts";
import type { Failure, Tally } from "./tally.ts";

/** So much of what a failing file printed is shown. */
const MAX_OUTPUT_CHARACTERS = 16_000;

/** Runs the files of one stage and prints failures as they come. */
export async function runStage(root: string, stage: Stage, tally: Tally, signal: AbortSignal): Promise<void> {
  const printed = new Map<string, string>();
  const failing = new Set<string>();
  const keep = ({ file = "", message }: { file?: string; message: string }): void => {
    printed.set(file, ((printed.get(file) ?? "") + message).slice(-MAX_OUTPUT_CHARACTERS));
  };
  const events = run({
    files: absolutePaths(root, stage.files),
    cwd: root,
    concurrency: stage.concurrency,
    timeout: stage.fileTimeoutMs,
    execArgv: [`--test-timeout=${stage.testTimeoutMs}`, "--disable-warning=ExperimentalWarning"],
    signal,
  });
  events.on("test:start", (data) => tally.start(data));
  events.on("test:stdout", keep);
  events.on("test:stderr", keep);
  events.on("test:pass", (data) => tally.pass(data));
  events.on("test:fail", (data) => {
    const failure = tally.fail(data);
    if (failure === undefined) return;
    failing.add(failure.file);
    console.log(formatFailure(root, failure));
  });
  events.on("test:summary", ({ file, duration_ms: durationMs }) => {
    if (file !== undefined && !failing.has(file)) console.log(`  ✔ ${relative(root, file)} (${(durationMs / 1000).toFixed(1)} s)`);
  });
  // Reading the stream to its end is what runs it.
  for await (const _event of events);
  for (const file of failing) console.log(formatOutput(root, file, printed.get(file) ?? ""));
}

function formatFailure(root: string, { file, path, text }: Failure): string {
  const title = ["✖ " + relative(root, file), ...path].join(" › ");
  return `\n${title}\n${text.replace(/^/gm, "    ")}\n`;
}

function formatOutput(root: string, file: string, output: string): string {
  if (output.trim() === "") return `  ✖ ${relative(root, file)}`;
  return `  ✖ ${relative(root, file)} printed:\n${output.trimEnd().replace(/^/gm, "    │ ")}`;
}
