import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createFolder, readFolderFacts } from "../../go/durable-folder.ts";
import { buildGoEnvironment, type GoToolchain } from "./go-toolchain.ts";
import { runTied } from "../run-tied.ts";

const PREPARE_TIMEOUT_MS = 15 * 60_000;

export interface StandardPackage {
  path: string;
  /** Compiled, by its path within the folder. */
  archive: string;
  /** Whether functions may import it. */
  isPublic: boolean;
  /** Brings net/http along. */
  needsHttp: boolean;
}

interface Facts {
  packages: StandardPackage[];
  /** Keeps the behaviour of Go 1.19 under a newer one; empty where it is the same. */
  oldGodebug: string;
}

/** Compiler, linker and the compiled standard library of one toolchain, whose own folder may change under us. */
export interface StandardLibrary extends Facts {
  folder: string;
}

/** Names it by all that goes into it. */
export function standardLibraryKey(toolchain: GoToolchain): string {
  const parts = ["1", toolchain.version, toolchain.root, process.arch, process.platform];
  return `std-${createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 32)}`;
}

/** That of an earlier run, else a new one: half a minute of a core, at low priority. */
export async function prepareStandardLibrary(toolchain: GoToolchain, folder: string, signal: AbortSignal): Promise<StandardLibrary> {
  const there = await readFolderFacts<Facts>(folder);
  if (there !== undefined) return { folder, ...there };
  await mkdir(dirname(folder), { recursive: true });
  const scratch = await mkdtemp(`${folder}.scratch-`);
  try {
    const facts = await createFolder(folder, (work) => fill(toolchain, work, scratch, signal));
    return { folder, ...facts };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const LIST_FORMAT = '{{.ImportPath}}\t{{.Export}}\t{{join .Deps ","}}';

async function fill(toolchain: GoToolchain, work: string, scratch: string, signal: AbortSignal): Promise<Facts> {
  await writeFile(join(scratch, "go.mod"), "module old\n\ngo 1.19\n");
  await writeFile(join(scratch, "main.go"), "package main\n\nfunc main() {}\n");
  const options = { cwd: scratch, env: buildGoEnvironment(scratch), timeoutMs: PREPARE_TIMEOUT_MS, signal };
  const go = (...args: string[]): Promise<string> => runTied([toolchain.program, ...args], options);
  const listed = await go("list", "-export", "-deps", "-f", LIST_FORMAT, "std");
  // Defaults that depend on the language version came with Go 1.21.
  const hasDefaults = Number(toolchain.line.split(".")[1]) >= 21;
  const oldGodebug = hasDefaults ? (await go("list", "-f", "{{.DefaultGODEBUG}}", ".")).trim() : "";
  await mkdir(join(work, "archives"));
  const packages: StandardPackage[] = [];
  for (const [path = "", archive = "", deps = ""] of listed.split("\n").map((line) => line.split("\t"))) {
    if (archive === "") continue;
    const name = `archives/${packages.length}.a`;
    await copyFile(archive, join(work, name));
    packages.push({
      path,
      archive: name,
      isPublic: isPublic(path),
      needsHttp: path === "net/http" || deps.split(",").includes("net/http"),
    });
  }
  for (const tool of ["compile", "link"]) await copyFile(join(toolchain.toolFolder, tool), join(work, tool));
  return { packages, oldGodebug };
}

function isPublic(path: string): boolean {
  return !path.startsWith("vendor/") && !path.split("/").includes("internal");
}
