import { access, constants, readFile, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Language } from "@kube-serverless/contracts";
import { type ProgramProbes, type Question, resolvePrograms } from "./program-probes.ts";
import { succeeds } from "../../../succeeds.ts";

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

/** A program that goes by a runtime's name, and is not taken. */
export interface RejectedProgram {
  language: Language;
  path: string;
  /** To be read after its path. */
  why: string;
}

/** What was found, each program once. */
export interface Detected<T extends InstalledVersion = InstalledVersion> {
  installed: T[];
  rejected: RejectedProgram[];
}

/** Undefined where nothing is there. */
export type Probed<T extends InstalledVersion = InstalledVersion> = T | RejectedProgram | undefined;

export interface DetectOptions {
  /** Has `node_modules` with the packaged Node.js versions. */
  projectFolder: string;
  /** Folders of PATH. */
  searchPath: readonly string[];
  /** Programs that the user named, by runtime name. */
  named: ReadonlyMap<string, string>;
  os: string;
  arch: string;
  probes: ProgramProbes;
}

type Interpreted = Exclude<Language, "go">;

const ENVIRONMENT = { PATH: "/usr/bin:/bin", LANG: "C.UTF-8" };
const PYTHON_FACTS = "import sys; print(sys.implementation.name, '%d.%d.%d' % sys.version_info[:3], sys.prefix, sys.executable, sep='\\n')";
const QUESTIONS: Record<Interpreted, Question> = {
  nodejs: { args: ["--version"], environment: ENVIRONMENT },
  python: { args: ["-I", "-S", "-c", PYTHON_FACTS], environment: ENVIRONMENT },
};

/** Every Node.js and Python that can be found, each once, those that the user named first. Go's toolchains are found by go/. */
export async function detectInterpreters(options: DetectOptions): Promise<Detected> {
  const [nodes, pythons] = await Promise.all([
    resolvePrograms(nodeCandidates(options), /^node/),
    resolvePrograms(pythonCandidates(options), /^python/),
  ]);
  const found = await Promise.all([
    ...namedOf(options, "nodejs").map((path) => probeInterpreter("nodejs", path, options.probes)),
    ...packagedNodes(options).map(readPackagedNode),
    ...nodes.map((path) => probeInterpreter("nodejs", path, options.probes)),
    ...namedOf(options, "python").map((path) => probeInterpreter("python", path, options.probes)),
    ...pythons.map((path) => probeInterpreter("python", path, options.probes)),
  ]);
  return sortProbed(found, ({ program }) => program);
}

/** Versions and rejected programs apart, the first of each key. */
export function sortProbed<T extends InstalledVersion>(found: readonly Probed<T>[], keyOf: (version: T) => string): Detected<T> {
  const installed = new Map<string, T>();
  const rejected = new Map<string, RejectedProgram>();
  for (const probed of found) {
    if (probed === undefined) continue;
    if ("why" in probed) rejected.set(probed.path, probed);
    else if (!installed.has(keyOf(probed))) installed.set(keyOf(probed), probed);
  }
  return { installed: [...installed.values()], rejected: [...rejected.values()] };
}

/** What this program is, if it is one of that language. */
export async function probeInterpreter(language: Interpreted, path: string, probes: ProgramProbes): Promise<Probed> {
  if (path === process.execPath && language === "nodejs") return describeNode(path, process.version);
  const reply = await probes.ask(path, QUESTIONS[language]);
  if (reply === undefined) return undefined;
  if ("failure" in reply) return { language, path, why: reply.failure };
  return language === "nodejs" ? describeNode(path, reply.output) : describePython(path, reply.output);
}

function namedOf({ named }: DetectOptions, language: Interpreted): string[] {
  return [...named].filter(([name]) => name.startsWith(language)).map(([, path]) => path);
}

function packagedNodes({ projectFolder, os, arch }: DetectOptions): string[] {
  return [`nodejs18-${os}-${arch}`, `node-${os}-${arch}`].map((name) => join(projectFolder, "node_modules", name));
}

function nodeCandidates({ searchPath }: DetectOptions): string[] {
  return [process.execPath, ...searchPath.map((folder) => join(folder, "node"))];
}

function pythonCandidates({ searchPath }: DetectOptions): string[] {
  const programs = ["python3", ...[9, 10, 11, 12, 13, 14].map((minor) => `python3.${minor}`)];
  const folders = ["/usr/bin", "/usr/local/bin", ...searchPath];
  return folders.flatMap((folder) => programs.map((program) => join(folder, program)));
}

/** A package's version is that of its binary, so it need not be started to know. */
async function readPackagedNode(folder: string): Promise<Probed> {
  const program = join(folder, "bin", "node");
  if (!(await succeeds(access(program, constants.X_OK)))) return undefined;
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as { version: string };
  // Written as v18.20.8 in some of them.
  return describeNode(program, `v${version.replace(/^v/, "")}`);
}

async function describeNode(path: string, output: string): Promise<Probed> {
  const match = /^v((\d+)\.\d+\.\d+)$/.exec(output);
  if (match === null) return { language: "nodejs", path, why: "it does not tell its version as Node.js does" };
  const program = await realpath(path);
  return { language: "nodejs", version: match[1]!, line: match[2]!, program, prefix: prefixOf(program, program) };
}

async function describePython(path: string, output: string): Promise<Probed> {
  const reject = (why: string): RejectedProgram => ({ language: "python", path, why });
  const [implementation, version, prefix, executable] = output.split("\n");
  const match = version?.match(/^(3\.\d+)\.\d+$/);
  if (match == null || prefix === undefined || !executable) return reject("it does not tell its version as Python 3 does");
  if (implementation !== "cpython") return reject(`it is ${implementation}, and functions need CPython`);
  // What a script led to may be gone since it was asked.
  const program = await realpath(executable).catch(() => undefined);
  if (program === undefined) return reject(`it runs ${executable}, which is not there`);
  return { language: "python", version: version!, line: match[1]!, program, prefix: prefixOf(program, prefix) };
}

/** /usr (or what links there) is in every sandbox. A lone program such as the packaged node needs only itself. */
function prefixOf(program: string, prefix: string): string | undefined {
  if (program.startsWith("/usr/") && !program.startsWith("/usr/local/")) return undefined;
  return prefix.startsWith("/usr/local") || prefix === "/usr" ? dirname(dirname(program)) : prefix;
}
