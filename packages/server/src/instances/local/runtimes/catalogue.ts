import { type Language, languageOf, type RuntimeInfo } from "@kube-serverless/contracts";
import type { Detected, InstalledVersion, RejectedProgram } from "./installed.ts";

/** The names that the documentation promises. */
export const DOCUMENTED_RUNTIMES = ["nodejs18", "python39", "go119"] as const;

const HINTS: Record<Language, string> = {
  nodejs: "Install Node.js 18 or newer, or run `npm install` again so that its packaged binary comes",
  python: "Install Python 3.9 or newer, such as `apt-get install python3`",
  go: "Install Go 1.19 or newer, such as `apt-get install golang-1.19-go`",
};

/** How to install a runtime that has no entry, such as `python312`, and which program of its name was not taken. */
export function installHint(runtime: string, rejected: readonly RejectedProgram[]): string {
  const advice = adviseInstall(runtime);
  return advice === "" ? "" : [advice, ...tellRejected(runtime, rejected, false)].join(". ");
}

function adviseInstall(runtime: string): string {
  const match = /^(nodejs|python|go)(\d)(\d*)$/.exec(runtime);
  if (match === null) return "";
  const [, language, major, minor] = match;
  if (language === "nodejs")
    return `Install Node.js ${major}${minor} and name it with --runtime-path ${runtime}=/path/to/node, or put it on PATH`;
  const name = language === "python" ? "Python" : "Go";
  return `Install ${name} ${major}.${minor} and put it on PATH, or name it with --runtime-path ${runtime}=/path/to/${language === "go" ? "go" : "python"}`;
}

export interface CatalogueEntry {
  info: RuntimeInfo;
  installed: InstalledVersion | undefined;
}

/** `nodejs18` for 18, `python39` for 3.9, `go119` for 1.19. */
export function runtimeName(language: Language, line: string): string {
  return `${language}${line.replace(".", "")}`;
}

/** 18 → [18], 3.9 → [3, 9]: comparable by parts. */
function lineParts(line: string): number[] {
  return line.split(".").map(Number);
}

function compareLines(left: string, right: string): number {
  const a = lineParts(left);
  const b = lineParts(right);
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const DOCUMENTED_LINES: readonly { language: Language; line: string }[] = [
  { language: "nodejs", line: "18" },
  { language: "python", line: "3.9" },
  { language: "go", line: "1.19" },
];

/**
 * Every runtime name with what runs it: the exact line where it is installed, for documented names else the nearest newer one,
 * unless `strict`.
 */
export function buildCatalogue({ installed, rejected }: Detected, strict: boolean): Map<string, CatalogueEntry> {
  const catalogue = new Map<string, CatalogueEntry>();
  for (const { language, line } of DOCUMENTED_LINES) {
    const candidates = installed
      .filter((version) => version.language === language && compareLines(version.line, line) >= 0)
      .sort((a, b) => compareLines(a.line, b.line));
    const nearest = candidates[0];
    const chosen = nearest !== undefined && (!strict || nearest.line === line) ? nearest : undefined;
    const hint = hintFor({ language, line, chosen, nearest, rejected });
    catalogue.set(runtimeName(language, line), buildEntry(language, line, chosen, hint));
  }
  for (const version of installed) {
    const name = runtimeName(version.language, version.line);
    if (!catalogue.has(name) && isNamed(version)) catalogue.set(name, buildEntry(version.language, version.line, version, ""));
  }
  return catalogue;
}

/** Only even Node.js lines, and what is newer than the documented lines, have names. */
function isNamed({ language, line }: InstalledVersion): boolean {
  const documented = DOCUMENTED_LINES.find((candidate) => candidate.language === language)!;
  return compareLines(line, documented.line) > 0 && (language !== "nodejs" || Number(line) % 2 === 0);
}

function buildEntry(language: Language, line: string, chosen: InstalledVersion | undefined, hint: string): CatalogueEntry {
  return {
    info: {
      name: runtimeName(language, line),
      language,
      version: chosen?.version ?? "",
      exact: chosen?.line === line,
      available: chosen !== undefined,
      hint,
    },
    installed: chosen,
  };
}

interface Choice {
  language: Language;
  line: string;
  chosen: InstalledVersion | undefined;
  nearest: InstalledVersion | undefined;
  rejected: readonly RejectedProgram[];
}

function hintFor(choice: Choice): string {
  const { language, line, chosen, rejected } = choice;
  if (chosen?.line === line) return "";
  return [explainChoice(choice), ...tellRejected(runtimeName(language, line), rejected, chosen === undefined)].join(". ");
}

function explainChoice({ language, line, chosen, nearest }: Choice): string {
  if (chosen !== undefined) return `Runs on ${chosen.version}, the nearest newer version that is installed`;
  return nearest === undefined ? HINTS[language] : `Only ${nearest.version} is installed, and --strict-runtimes wants exactly ${line}`;
}

/** Programs that go by this runtime's name, or `withNameless` by that of its language alone. */
function tellRejected(runtime: string, rejected: readonly RejectedProgram[], withNameless: boolean): string[] {
  const language = languageOf(runtime);
  return rejected
    .filter((program) => {
      const line = lineInPath(program);
      return program.language === language && (line === undefined ? withNameless : runtimeName(language, line) === runtime);
    })
    .map(({ path, why }) => `${path} was found and not taken: ${why}`);
}

/** `python3.9` and `go-1.19/bin/go` say which line they are. */
function lineInPath({ path }: RejectedProgram): string | undefined {
  return /\/python(3\.\d+)$/.exec(path)?.[1] ?? /\/go-?(1\.\d+)[^/]*\/bin\/go$/.exec(path)?.[1];
}
