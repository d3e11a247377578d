import { relative } from "node:path";
import { run } from "node:test";
import { absolutePaths, type Stage } from "./stages.ts";
import type { Failure, Tally } from "./tally.ts";

/** So much of what a failing file printed is shown. */
const MAX_OUTPUT_CHARACTERS = 16_000;

/** Runs the files of one stage and prints failures as they come. */
export async function runStage(root: string, stage: Stage, tally: Tally, signal: AbortSignal): Promise<void> {
  const waiting = absolutePaths(root, stage.files);
  const work = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined && !signal.aborted; file = waiting.shift()) {
      await runFile(root, file, stage, tally, signal);
    }
  };
  await Promise.all(Array.from({ length: stage.concurrency }, work));
}

/** A run of its own: the time limit that node:test takes is that of a test, not of a file. */
async function runFile(root: string, file: string, stage: Stage, tally: Tally, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.timeout(stage.fileTimeoutMs);
  let printed = "";
  let isFailing = false;
  const keep = ({ message }: { message: string }): void => {
    printed = (printed + message).slice(-MAX_OUTPUT_CHARACTERS);
  };
  const startMs = performance.now();
  const events = run({
    files: [file],
    cwd: root,
    execArgv: [`--test-timeout=${stage.testTimeoutMs}`, "--disable-warning=ExperimentalWarning"],
    signal: AbortSignal.any([signal, limit]),
  });
  events.on("test:dequeue", (data) => tally.begin(data));
  events.on("test:start", (data) => tally.start(data));
  events.on("test:stdout", keep);
  events.on("test:stderr", keep);
  events.on("test:pass", (data) => tally.pass(data));
  events.on("test:fail", (data) => {
    const failure = tally.fail(data);
    if (failure === undefined) return;
    isFailing = true;
    console.log(formatFailure(root, failure));
  });
  // Reading the stream to its end is what runs it.
  for await (const _event of events);
  if (isFailing) console.log(formatOutput(root, file, printed));
  else console.log(`  ✔ ${relative(root, file)} (${((performance.now() - startMs) / 1000).toFixed(1)} s)`);
}

function formatFailure(root: string, { file, path, text }: Failure): string {
  const title = ["✖ " + relative(root, file), ...path].join(" › ");
  return `\n${title}\n${text.replace(/^/gm, "    ")}\n`;
}

function formatOutput(root: string, file: string, output: string): string {
  if (output.trim() === "") return `  ✖ ${relative(root, file)}`;
  return `  ✖ ${relative(root, file)} printed:\n${output.trimEnd().replace(/^/gm, "    │ ")}`;
}
