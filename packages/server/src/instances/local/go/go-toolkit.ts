import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { copyFile, cp, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildGoEnvironment, type GoToolchain } from "./go-toolchain.ts";

const run = promisify(execFile);

const PREPARE_TIMEOUT_MS = 15 * 60_000;
const MAX_LIST_BYTES = 64 * 1024 * 1024;

/**
 * All that compiling a function takes, in one read-only folder: compiler, linker, the standard library and the shim as
 * archives, and the launcher.
 */
export interface GoToolkit {
  folder: string;
  launcher: string;
  /** What functions may import. */
  packages: ReadonlySet<string>;
  /** Those of them that bring net/http along. */
  httpPackages: ReadonlySet<string>;
  /** Keeps the behaviour of Go 1.19 under a newer one; empty where it is the same. */
  oldGodebug: string;
}

interface Manifest {
  packages: string[];
  httpPackages: string[];
  oldGodebug: string;
  /** Of every file, so that a folder that lost some is made anew. */
  sizes: Record<string, number>;
}

interface ListedPackage {
  path: string;
  archive: string;
  standard: boolean;
  deps: readonly string[];
}

const MANIFEST = "toolkit.json";

/** Files that make the shim, without tests: what is compiled into functions. */
export async function hashShim(sourceFolder: string): Promise<string> {
  const hash = createHash("sha256");
  const entries = await readdir(sourceFolder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && isShimFile(entry.name)).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) {
    const bytes = await readFile(file);
    hash.update(`${file.slice(sourceFolder.length)}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest("hex");
}

function isShimFile(name: string): boolean {
  return (name.endsWith(".go") && !name.endsWith("_test.go")) || name === "go.mod" || name === "build.sh";
}

/** Names a toolkit by all that goes into it. */
export function toolkitKey(toolchain: GoToolchain, shimHash: string): string {
  const parts = [toolchain.version, toolchain.root, process.arch, process.platform, shimHash];
  return createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 32);
}

/** The toolkit of an earlier run, if it is whole. */
export async function openToolkit(folder: string): Promise<GoToolkit | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, MANIFEST), "utf8")) as Manifest;
    for (const [name, size] of Object.entries(manifest.sizes)) {
      if ((await stat(join(folder, name))).size !== size) return undefined;
    }
    return {
      folder,
      launcher: join(folder, "launcher"),
      packages: new Set(manifest.packages),
      httpPackages: new Set(manifest.httpPackages),
      oldGodebug: manifest.oldGodebug,
    };
  } catch {
    return undefined;
  }
}

/** Compiles the standard library, the shim and the launcher: half a minute of a core. */
export async function createToolkit(
  toolchain: GoToolchain,
  sourceFolder: string,
  folder: string,
  signal?: AbortSignal,
): Promise<GoToolkit> {
  const work = `${folder}.${randomUUID()}`;
  const made = join(work, "toolkit");
  try {
    await mkdir(join(made, "archives"), { recursive: true });
    await cp(sourceFolder, join(work, "source"), { recursive: true });
    const go = (...args: string[]): Promise<string> => runGo(toolchain, args, work, signal);
    const listed = parseList(await go("list", "-export", "-deps", "-f", LIST_FORMAT, "std", "./shim", "./shim/httphandler"));
    await go("build", "-ldflags", "-s -w", "-o", join(made, "launcher"), "./launcher");
    const oldGodebug =
      Number(toolchain.line.split(".")[1]) < 21 ? "" : (await go("list", "-f", "{{.DefaultGODEBUG}}", "./launcher")).trim();
    await copyArchives(listed, made);
    await Promise.all([
      copyFile(join(toolchain.toolFolder, "compile"), join(made, "compile")),
      copyFile(join(toolchain.toolFolder, "link"), join(made, "link")),
      copyFile(join(sourceFolder, "build.sh"), join(made, "build.sh")),
      copyFile(join(sourceFolder, "template", "main.go"), join(made, "main.go")),
    ]);
    await writeManifest(made, listed, oldGodebug);
    await syncFolder(made);
    await rm(folder, { recursive: true, force: true });
    await rename(made, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const toolkit = await openToolkit(folder);
  if (toolkit === undefined) throw new Error(`the Go toolkit in ${folder} is not whole: is the disk full?`);
  return toolkit;
}

const LIST_FORMAT = '{{.ImportPath}}\t{{.Export}}\t{{.Standard}}\t{{join .Deps ","}}';

function parseList(output: string): ListedPackage[] {
  return output
    .split("\n")
    .map((line) => line.split("\t"))
    .filter((fields) => (fields[1] ?? "") !== "")
    .map(([path = "", archive = "", standard, deps = ""]) => ({ path, archive, standard: standard === "true", deps: deps.split(",") }));
}

async function runGo(toolchain: GoToolchain, args: string[], work: string, signal: AbortSignal | undefined): Promise<string> {
  const options = { cwd: join(work, "source"), env: buildGoEnvironment(work), timeout: PREPARE_TIMEOUT_MS, maxBuffer: MAX_LIST_BYTES };
  const running = run(toolchain.program, args, signal === undefined ? options : { ...options, signal });
  // It works beside calls.
  if (running.child.pid !== undefined) setPriority(running.child.pid, constants.priority.PRIORITY_LOW);
  return (await running).stdout;
}

function isPublic({ path, standard }: ListedPackage): boolean {
  return standard && !path.startsWith("vendor/") && !path.split("/").includes("internal");
}

async function copyArchives(listed: readonly ListedPackage[], made: string): Promise<void> {
  const lines: string[] = [];
  const compileLines: string[] = [];
  for (const [index, entry] of listed.entries()) {
    const name = `archives/${index}.a`;
    await copyFile(entry.archive, join(made, name));
    const line = `packagefile ${entry.path}=${name}\n`;
    lines.push(line);
    if (isPublic(entry) || entry.path.startsWith("kubeserverless/shim")) compileLines.push(line);
  }
  await writeFile(join(made, "importcfg.link"), lines.join(""));
  await writeFile(join(made, "importcfg.compile"), compileLines.join(""));
}

async function writeManifest(made: string, listed: readonly ListedPackage[], oldGodebug: string): Promise<void> {
  const packages = listed.filter(isPublic);
  const httpPackages = packages.filter(({ path, deps }) => path === "net/http" || deps.includes("net/http"));
  const sizes: Record<string, number> = {};
  for (const name of await readdir(made, { recursive: true })) {
    const { size } = await stat(join(made, name));
    if (name !== "archives") sizes[name] = size;
  }
  const manifest: Manifest = { packages: packages.map((p) => p.path), httpPackages: httpPackages.map((p) => p.path), oldGodebug, sizes };
  await writeFile(join(made, MANIFEST), JSON.stringify(manifest));
}

/** Or a power loss could leave the folder renamed with empty files in it. */
async function syncFolder(folder: string): Promise<void> {
  for (const name of await readdir(folder, { recursive: true })) await syncPath(join(folder, name));
  await syncPath(folder);
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
