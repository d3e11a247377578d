import { execFileSync } from "node:child_process";
import type { TestServer } from "../../support/server.ts";

/** Debian's package of a program, where its name is another. */
const PACKAGES: Record<string, string> = { bwrap: "bubblewrap", nginx: "nginx-light", "systemd-analyze": "systemd" };

/** Why a test that needs these programs cannot run here; undefined when it can. */
export function explainMissingPrograms(names: readonly string[]): string | undefined {
  const missing = names.find((name) => !isProgram(name));
  return missing === undefined ? undefined : `${missing} is missing: install the package ${PACKAGES[missing] ?? missing}`;
}

/** Why a test that needs these programs and languages cannot run here; undefined when it can. */
export async function explainMissing(server: TestServer, needs: readonly string[], key = ""): Promise<string | undefined> {
  const runtimes = (await (
    await fetch(`${server.api}/runtimes`, { headers: key === "" ? {} : { authorization: `Bearer ${key}` } })
  ).json()) as { language: string; available: boolean; hint: string }[];
  for (const need of needs) {
    const named = runtimes.filter(({ language }) => language === need);
    if (named.length > 0 && !named.some(({ available }) => available)) return `${need} is missing: ${named[0]!.hint}`;
  }
  const languages = new Set(runtimes.map(({ language }) => language));
  return explainMissingPrograms(needs.filter((need) => !languages.has(need)));
}

function isProgram(name: string): boolean {
  try {
    execFileSync("sh", ["-c", 'command -v "$1"', "sh", name], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
