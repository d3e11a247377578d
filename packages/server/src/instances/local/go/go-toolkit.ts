import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, link, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createFolder, readFolderFacts } from "../../go/durable-folder.ts";
import type { GoToolkit } from "../../go/toolkit.ts";
import type { StandardLibrary } from "./go-standard-library.ts";

const run = promisify(execFile);

const COMPILE_TIMEOUT_MS = 120_000;

interface Facts {
  packages: string[];
  httpPackages: string[];
  oldGodebug: string;
}

/** In the order that they need each other. */
const SHIM_PACKAGES = ["frame", "proof", "pod", "shim", "shim/httphandler", "shim/pod", "shim/start"];

/** The hash of all files that a toolkit is made of beside the standard library. */
export async function hashShim(sourceFolder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const folder of [...SHIM_PACKAGES, "launcher", "template"]) {
    for (const file of await listSources(join(sourceFolder, folder))) await addFile(hash, file);
  }
  await addFile(hash, join(sourceFolder, "build.sh"));
  return hash.digest("hex");
}

async function addFile(hash: ReturnType<typeof createHash>, file: string): Promise<void> {
  const bytes = await readFile(file);
  hash.update(`${bytes.length}\0`).update(bytes);
}

/** Compiles shim and launcher beside the standard library, unless an earlier run has: a second. */
export async function prepareToolkit(standard: StandardLibrary, sourceFolder: string, folder: string): Promise<GoToolkit> {
  const facts = (await readFolderFacts<Facts>(folder)) ?? (await createFolder(folder, (work) => fill(standard, sourceFolder, work)));
  return {
    folder,
    launcher: join(folder, "launcher"),
    packages: new Set(facts.packages),
    httpPackages: new Set(facts.httpPackages),
    oldGodebug: facts.oldGodebug,
  };
}

async function fill(standard: StandardLibrary, sourceFolder: string, work: string): Promise<Facts> {
  await mkdir(join(work, "archives"));
  for (const name of ["compile", "link", ...standard.packages.map(({ archive }) => archive)]) {
    await link(join(standard.folder, name), join(work, name));
  }
  const importLines = standard.packages.map(({ path, archive }) => `packagefile ${path}=${archive}\n`);
  await writeImports(work, "importcfg.link", importLines);
  for (const name of SHIM_PACKAGES) {
    const archive = `archives/${name.replaceAll("/", "-")}.a`;
    await compile(work, `kubeserverless/${name}`, sourceFolder, name, archive);
    importLines.push(`packagefile kubeserverless/${name}=${archive}\n`);
    await writeImports(work, "importcfg.link", importLines);
  }
  await linkLauncher(work, sourceFolder);
  const publicPaths = new Set(standard.packages.filter(({ isPublic }) => isPublic).map(({ path }) => path));
  const isOffered = (line: string): boolean =>
    publicPaths.has(line.slice("packagefile ".length, line.indexOf("="))) || line.includes(" kubeserverless/shim");
  await writeImports(work, "importcfg.compile", importLines.filter(isOffered));
  await copyFile(join(sourceFolder, "build.sh"), join(work, "build.sh"));
  await copyFile(join(sourceFolder, "template", "main.go"), join(work, "main.go"));
  const httpPackages = standard.packages.filter(({ isPublic, needsHttp }) => isPublic && needsHttp).map(({ path }) => path);
  const facts = { packages: [...publicPaths], httpPackages, oldGodebug: standard.oldGodebug };
  // For a builder in a pod, which tells it to the server.
  await writeFile(join(work, "toolkit.json"), JSON.stringify(facts));
  return facts;
}

function writeImports(work: string, name: string, lines: readonly string[]): Promise<void> {
  return writeFile(join(work, name), lines.join(""));
}

async function compile(work: string, path: string, sourceFolder: string, name: string, output: string): Promise<void> {
  const sources = await listSources(join(sourceFolder, name));
  const flags = [
    "-p",
    path,
    "-lang",
    "go1.19",
    "-complete",
    "-pack",
    "-importcfg",
    "importcfg.link",
    "-trimpath",
    `${sourceFolder}=>kubeserverless`,
  ];
  await run(join(work, "compile"), ["-o", output, ...flags, ...sources], { cwd: work, timeout: COMPILE_TIMEOUT_MS, env: {} });
}

async function linkLauncher(work: string, sourceFolder: string): Promise<void> {
  const archive = "launcher.a";
  await compile(work, "main", sourceFolder, "launcher", archive);
  const flags = ["-o", "launcher", "-importcfg", "importcfg.link", "-buildmode", "exe", "-linkmode", "internal", "-s", "-w"];
  await run(join(work, "link"), [...flags, archive], { cwd: work, timeout: COMPILE_TIMEOUT_MS, env: {} });
}

async function listSources(folder: string): Promise<string[]> {
  const names = await readdir(folder);
  return names
    .filter((name) => name.endsWith(".go") && !name.endsWith("_test.go"))
    .sort()
    .map((name) => join(folder, name));
}
