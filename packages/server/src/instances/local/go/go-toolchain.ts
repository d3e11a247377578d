import { readdir, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { InstalledVersion } from "../runtimes/installed.ts";
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
export async function detectGo(options: DetectGoOptions): Promise<GoToolchain[]> {
  const named = [...options.named].filter(([name]) => name.startsWith("go")).map(([, path]) => path);
  const candidates = [
    ...named,
    ...(await packagedPrograms()),
    "/usr/local/go/bin/go",
    ...options.searchPath.map((folder) => join(folder, "go")),
  ];
  const programs = await resolvePrograms(candidates, /^go$/);
  const found = await Promise.all(programs.map((program) => probeGo(program, options.probes)));
  const byRoot = new Map<string, GoToolchain>();
  for (const toolchain of found) if (toolchain !== undefined && !byRoot.has(toolchain.root)) byRoot.set(toolchain.root, toolchain);
  return [...byRoot.values()];
}

/** Debian installs its lines beside each other. */
async function packagedPrograms(): Promise<string[]> {
  const names = await readdir("/usr/lib").catch(() => []);
  return names.filter((name) => /^go-1\.\d+$/.test(name)).map((name) => join("/usr/lib", name, "bin", "go"));
}

/** What this go command is; undefined for what is none, or too old. */
export async function probeGo(path: string, probes: ProgramProbes): Promise<GoToolchain | undefined> {
  const output = await probes.ask(path, {
    args: ["env", "GOVERSION", "GOROOT", "GOTOOLDIR"],
    environment: buildGoEnvironment("/nonexistent"),
  });
  const [version = "", root = "", toolFolder = ""] = output?.split("\n") ?? [];
  const match = version.match(/^go((1\.(\d+))[\w.]*)/);
  if (match === null || Number(match[3]) < 19) return undefined;
  try {
    const program = await realpath(path);
    // /usr is in every sandbox.
    const prefix = root.startsWith("/usr/") ? undefined : dirname(dirname(program));
    return { language: "go", version: match[1]!, line: match[2]!, program, prefix, root: await realpath(root), toolFolder };
  } catch {
    // Its root is gone.
    return undefined;
  }
}
