import { existsSync } from "node:fs";
import { join } from "node:path";

/** Compiles Go's standard library where no run has yet: within a test it would take that test's time, once in each server. */
export async function prepareGo(say: (line: string) => void): Promise<void> {
  const { GO_CACHE, GO_TOOLCHAINS, GO_TOOLKITS } = await import("../../test/integration/runtimes/gos.ts");
  const missing: string[] = [];
  for (const { program, version } of GO_TOOLCHAINS) {
    if (!existsSync(join(GO_CACHE, "toolkits", await GO_TOOLKITS.keyOf(program)))) missing.push(version);
  }
  if (missing.length === 0) return;
  say(`\nCompiling the standard library of Go ${missing.join(" and ")}, once, which takes half a minute each …`);
  const startMs = performance.now();
  try {
    for (const { program } of GO_TOOLCHAINS) await GO_TOOLKITS.get(program);
    say(`  done in ${((performance.now() - startMs) / 1000).toFixed(0)} s`);
  } catch (error) {
    // The tests that need it will say the same.
    say(`  failed: ${(error as Error).message}`);
  }
}
