import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { prepareStandardLibrary } from "../../packages/server/src/instances/local/go/go-standard-library.ts";
import { prepareToolkit } from "../../packages/server/src/instances/local/go/go-toolkit.ts";
import { probeGo } from "../../packages/server/src/instances/local/go/go-toolchain.ts";
import { ProgramProbes } from "../../packages/server/src/instances/local/runtimes/program-probes.ts";

/** `make-go-toolkit.ts GO SOURCES FOLDER`: what the standalone server makes at its first start, made while the image is built. */
async function main([program = "", sources = "", target = ""]: readonly string[]): Promise<void> {
  const toolchain = await probeGo(program, await ProgramProbes.open(undefined));
  if (toolchain === undefined) throw new Error(`${program} is not there`);
  if ("why" in toolchain) throw new Error(`${program} is no Go of 1.19 or newer: ${toolchain.why}`);
  const work = await mkdtemp(join(tmpdir(), "toolkit-"));
  try {
    const standard = await prepareStandardLibrary(toolchain, join(work, "standard"), new AbortController().signal);
    await prepareToolkit(standard, resolve(sources), resolve(target));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

await main(process.argv.slice(2));
