import { execFileSync } from "node:child_process";
import type { TestServer } from "../../support/server.ts";

const PACKAGES: Record<string, string> = { curl: "curl", openssl: "openssl", jq: "jq", bash: "bash" };

/** Why a test that needs these programs and languages cannot run here; undefined when it can. */
export async function explainMissing(server: TestServer, needs: readonly string[]): Promise<string | undefined> {
  const runtimes = (await (await fetch(`${server.api}/runtimes`)).json()) as { language: string; available: boolean; hint: string }[];
  for (const need of needs) {
    const named = runtimes.filter(({ language }) => language === need);
    if (named.length > 0 && !named.some(({ available }) => available)) return `${need} is missing: ${named[0]!.hint}`;
    if (named.length === 0 && !isProgram(need)) return `${need} is missing: install the package ${PACKAGES[need] ?? need}`;
  }
  return undefined;
}

function isProgram(name: string): boolean {
  try {
    execFileSync("sh", ["-c", 'command -v "$1"', "sh", name], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
