import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import type { ShimLanguage } from "./languages.ts";
import { Shim } from "./support.ts";
import { type LoadShim, useShims } from "./use-shims.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** A version of Python that the tests run the shim on. */
export interface Python extends ShimLanguage {
  /** Path of the interpreter; empty where it is missing. */
  program: string;
}

/** The command of a Python replica. */
export function buildPythonCommand(program: string): string[] {
  return [program, "-I", "-S", "-B", `${ROOT}/runtimes/python/main.py`];
}

/** What a Python script prints, run with the shim's folder as its argument. */
export function runPython(program: string, script: string, input: string): string {
  const { stdout, stderr, status } = spawnSync(program, ["-I", "-S", "-B", "-c", script, `${ROOT}/runtimes/python`], {
    input,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

function describePython(version: string): Python {
  const program = findPython(version);
  return {
    name: `python${version.replace(".", "")}`,
    language: "python",
    program: program ?? "",
    missing: program === undefined ? `python${version} is missing: install it with the system's packages or pyenv` : undefined,
    start: async () => new Shim({ command: buildPythonCommand(program ?? "") }),
  };
}

function findPython(version: string): string | undefined {
  for (const program of listFolders(version).map((folder) => join(folder, `python${version}`))) {
    if (!existsSync(program)) continue;
    // What is on PATH may be a script that sets up an environment of its own, or knows no such version.
    const { stdout } = spawnSync(program, ["-I", "-S", "-c", "import sys; print(sys.executable)"], { encoding: "utf8" });
    if (stdout.trim() !== "") return stdout.trim();
  }
  return undefined;
}

/** An unpacked `org.bytedeco:cpython`, which is the documented 3.9 to the digit, comes before what is installed. */
function listFolders(version: string): string[] {
  const unpacked = join(tmpdir(), `cpython${version.replace(".", "")}`, "org/bytedeco/cpython/linux-x86_64/bin");
  const versions = join(homedir(), ".pyenv/versions");
  const ofPyenv = existsSync(versions) ? readdirSync(versions).filter((name) => name.startsWith(`${version}.`)) : [];
  return [unpacked, ...(process.env["PATH"] ?? "").split(delimiter), ...ofPyenv.map((name) => join(versions, name, "bin"))];
}

/** The documented version, and a newer one that most systems have. */
export const PYTHONS: readonly Python[] = [describePython("3.9"), describePython("3.11")];

/** Those that are there beyond; vectors and damaged frames are played on them, too. */
export const OTHER_PYTHONS: readonly Python[] = ["3.10", "3.12", "3.13", "3.14"]
  .map(describePython)
  .filter(({ missing }) => missing === undefined);

/** One call at a time, as Python has it where nothing else is said. */
export function usePythonShims(python: Python): LoadShim {
  return useShims(python, { handler: "handler.handler", concurrency: 1 });
}
