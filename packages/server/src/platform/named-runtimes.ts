import { languageOf } from "@kube-serverless/contracts";
import { ConfigProblems } from "../config/config-problems.ts";
import { probeGo } from "../instances/local/go/go-toolchain.ts";
import { runtimeName } from "../instances/local/runtimes/catalogue.ts";
import { type Probed, probeInterpreter } from "../instances/local/runtimes/installed.ts";
import type { ProgramProbes } from "../instances/local/runtimes/program-probes.ts";

const LANGUAGE_NAMES = { nodejs: "Node.js", python: "Python", go: "Go" } as const;

/**
 * Asks the programs of `--runtime-path` what they are: one that is something else would only be missed much later.
 * @throws ConfigProblems naming all that are
 */
export async function checkNamedRuntimes(named: ReadonlyMap<string, string>, probes: ProgramProbes): Promise<void> {
  const problems = await Promise.all(
    [...named].map(async ([runtime, path]) => {
      const language = languageOf(runtime);
      const version = await (language === "go" ? probeGo(path, probes) : probeInterpreter(language, path, probes));
      return describeMisnamed(runtime, path, version);
    }),
  );
  const told = problems.filter((problem) => problem !== undefined);
  if (told.length > 0) throw new ConfigProblems(told);
}

function describeMisnamed(runtime: string, path: string, version: Probed): string | undefined {
  const language = LANGUAGE_NAMES[languageOf(runtime)];
  if (version === undefined) return `--runtime-path ${runtime}=${path} names no ${language} that runs here`;
  if ("why" in version) return `--runtime-path ${runtime}=${path} names no ${language} that runs here: ${version.why}`;
  const name = runtimeName(version.language, version.line);
  return name === runtime ? undefined : `--runtime-path ${runtime}=${path} names ${language} ${version.version}, whose runtime is ${name}`;
}
