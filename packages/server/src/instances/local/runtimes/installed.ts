import { execFile } from "node:child_process";
import { access, constants, readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { Language } from "@kube-serverless/contracts";

const run = promisify(execFile);

/** An interpreter or compiler that is there. */
export interface InstalledVersion {
  language: Language;
  /** Such as 18.20.8. */
  version: string;
  /** The line that names are made of: 18, 3.9, 1.19. */
  line: string;
  /** The program to run. */
  program: string;
  /** Folder that holds all it needs to run, to be bound into a sandbox; undefined below /usr, which is bound anyway. */
  prefix: string | undefined;
}

export interface DetectOptions {
  /** Has `node_modules` with the packaged Node.js versions. */
  projectFolder: string;
  /** Folders of PATH. */
  searchPath: readonly string[];
  /** Programs that the user named, by runtime name. */
  named: ReadonlyMap<string, string>;
  os: string;
  arch: string;
}

/** Every Node.js and Python that can be found, each once. Go's toolchains are found by go/. */
export async function detectInterpreters(options: DetectOptions): Promise<InstalledVersion[]> {
  const found = await Promise.all([
    ...packagedNodes(options).map(readPackagedNode),
    ...nodeCandidates(options).map(probeNode),
    ...pythonCandidates(options).map(probePython),
  ]);
  const byProgram = new Map<string, InstalledVersion>();
  for (const version of found) if (version !== undefined && !byProgram.has(version.program)) byProgram.set(version.program, version);
  return [...byProgram.values()];
}

function packagedNodes({ projectFolder, os, arch }: DetectOptions): string[] {
  return [`nodejs18-${os}-${arch}`, `node-${os}-${arch}`].map((name) => join(projectFolder, "node_modules", name));
}

function nodeCandidates({ searchPath, named }: DetectOptions): string[] {
  const chosen = [...named].filter(([name]) => name.startsWith("nodejs")).map(([, path]) => path);
  return [...chosen, process.execPath, ...searchPath.map((folder) => join(folder, "node"))];
}

function pythonCandidates({ searchPath, named }: DetectOptions): string[] {
  const chosen = [...named].filter(([name]) => name.startsWith("python")).map(([, path]) => path);
  const programs = ["python3", ...[9, 10, 11, 12, 13, 14].map((minor) => `python3.${minor}`)];
  const folders = ["/usr/bin", "/usr/local/bin", ...searchPath];
  return [...new Set([...chosen, ...folders.flatMap((folder) => programs.map((program) => join(folder, program)))])];
}

async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function probe(path: string, args: string[]): Promise<string | undefined> {
  if (!(await isProgram(path))) return undefined;
  try {
    const { stdout } = await run(path, args, { timeout: 5000, env: { PATH: "/usr/bin:/bin", LANG: "C.UTF-8" } });
    return stdout.trim();
  } catch {
    return undefined;
  }
}

/** A package's version is that of its binary, so it need not be started to know. */
async function readPackagedNode(folder: string): Promise<InstalledVersion | undefined> {
  const program = join(folder, "bin", "node");
  if (!(await isProgram(program))) return undefined;
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as { version: string };
  // Written as v18.20.8 in some of them.
  return describeNode(program, `v${version.replace(/^v/, "")}`);
}

async function probeNode(path: string): Promise<InstalledVersion | undefined> {
  return describeNode(path, path === process.execPath ? process.version : await probe(path, ["--version"]));
}

async function describeNode(path: string, output: string | undefined): Promise<InstalledVersion | undefined> {
  const match = output?.match(/^v((\d+)\.\d+\.\d+)$/);
  if (match == null) return undefined;
  const program = await realpath(path);
  return { language: "nodejs", version: match[1]!, line: match[2]!, program, prefix: prefixOf(program, program) };
}

const PYTHON_FACTS = "import sys; print(sys.implementation.name, '%d.%d.%d' % sys.version_info[:3], sys.prefix, sys.executable, sep='\\n')";

async function probePython(path: string): Promise<InstalledVersion | undefined> {
  const [implementation, version, prefix, executable] = (await probe(path, ["-I", "-S", "-c", PYTHON_FACTS]))?.split("\n") ?? [];
  const match = version?.match(/^(3\.\d+)\.\d+$/);
  if (implementation !== "cpython" || match == null || prefix === undefined || !executable) return undefined;
  const program = await realpath(executable);
  return { language: "python", version: version!, line: match[1]!, program, prefix: prefixOf(program, prefix) };
}

/** /usr (or what links there) is in every sandbox. A lone program such as the packaged node needs only itself. */
function prefixOf(program: string, prefix: string): string | undefined {
  if (program.startsWith("/usr/") && !program.startsWith("/usr/local/")) return undefined;
  return prefix.startsWith("/usr/local") || prefix === "/usr" ? dirname(dirname(program)) : prefix;
}
