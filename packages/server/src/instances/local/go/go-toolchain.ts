import { readdir, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Detected, type InstalledVersion, type Probed, sortProbed } from "../runtimes/installed.ts";
import { type ProgramProbes, resolvePrograms } from "../runtimes/program-probes.ts";

/** A Go that is installed. `program` is the go command. */
export interface GoToolchain extends InstalledVersion {
  language: "go";
  root: string;
  /** Holds compiler and linker. */
  toolFolder: string;
}

export interface DetectGoOptions {
  /** Folders of PATH. */
  searchPath: readonly string[];
  /** Programs that the user named, by runtime name. */
  named: ReadonlyMap<string, string>;
  probes: ProgramProbes;
}

/** Nothing of the user's own settings, no downloads, and files only in `folder`, which is there. */
export function buildGoEnvironment(folder: string): Record<string, string> {
  return {
    PATH: "/usr/bin:/bin",
    HOME: folder,
    GOCACHE: join(folder, "cache"),
    GOPATH: join(folder, "path"),
    GOTMPDIR: folder,
    GOENV: "off",
    GOWORK: "off",
    GOFLAGS: "-mod=mod",
    GOPROXY: "off",
    GOTOOLCHAIN: "local",
    GOTELEMETRY: "off",
    CGO_ENABLED: "0",
  };
}

/** Every Go from 1.19 on, each once, those that the user named first. */
export async function detectGo(options: DetectGoOptions): Promise<Detected<GoToolchain>> {
  const named = [...options.named].filter(([name]) => name.startsWith("go")).map(([, path]) => path);
  const candidates = [
    ...named,
    ...(await packagedPrograms()),
    "/usr/local/go/bin/go",
    ...options.searchPath.map((folder) => join(folder, "go")),
  ];
  const programs = await resolvePrograms(candidates, /^go$/);
  const found = await Promise.all(programs.map((program) => probeGo(program, options.probes)));
  return sortProbed(found, ({ root }) => root);
}

/** Debian installs its lines beside each other. */
async function packagedPrograms(): Promise<string[]> {
  const names = await readdir("/usr/lib").catch(() => []);
  return names.filter((name) => /^go-1\.\d+$/.test(name)).map((name) => join("/usr/lib", name, "bin", "go"));
}

/** What this go command is. */
export async function probeGo(path: string, probes: ProgramProbes): Promise<Probed<GoToolchain>> {
  const reject = (why: string) => ({ language: "go", path, why }) as const;
  const reply = await probes.ask(path, {
    args: ["env", "GOVERSION", "GOROOT", "GOTOOLDIR"],
    // Go would make a home folder for what it measures of itself.
    environment: buildGoEnvironment("/dev/null"),
  });
  if (reply === undefined) return undefined;
  if ("failure" in reply) return reject(reply.failure);
  const [version = "", root = "", toolFolder = ""] = reply.output.split("\n");
  const match = version.match(/^go((1\.(\d+))[\w.]*)/);
  if (match === null) return reject("it does not tell its version as Go does");
  if (Number(match[3]) < 19) return reject(`it is Go ${match[1]}, and functions need 1.19 or newer`);
  try {
    const program = await realpath(path);
    // /usr is in every sandbox.
    const prefix = root.startsWith("/usr/") ? undefined : dirname(dirname(program));
    return { language: "go", version: match[1]!, line: match[2]!, program, prefix, root: await realpath(root), toolFolder };
  } catch {
    return reject(`its folder ${root} is not there`);
  }
}
