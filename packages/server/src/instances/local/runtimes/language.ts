import type { InstalledVersion } from "./installed.ts";

/** How a generic replica of a class is started. */
export interface StartPlan {
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
  binds: readonly { source: string; target: string }[];
}

/** What a clean environment holds; a function's own comes with SPECIALISE. */
export const BASE_ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
  HOME: "/tmp",
  LANG: "C.UTF-8",
  TZ: "UTC",
};

/** V8 fixes its heap at start, so the flags come from the memory class: room for the heap beside code, stacks and buffers. */
export function nodeFlags(memoryMiB: number): string[] {
  const oldSpaceMiB = Math.max(24, memoryMiB <= 512 ? Math.floor(memoryMiB * 0.625) : Math.floor(memoryMiB * 0.8));
  const semiSpaceMiB = memoryMiB <= 128 ? 1 : memoryMiB <= 512 ? 4 : 16;
  const flags = [
    `--max-old-space-size=${oldSpaceMiB}`,
    `--max-semi-space-size=${semiSpaceMiB}`,
    "--experimental-vm-modules",
    "--no-warnings",
  ];
  // One helper thread of V8 instead of four saves half a MiB of each waiting replica; large heaps collect faster with all.
  return memoryMiB <= 512 ? [...flags, "--v8-pool-size=1"] : flags;
}

/** Makes files readable in the sandbox. */
export type Stage = (source: string) => Promise<{ source: string; target: string }>;

async function stageProgram(
  installed: InstalledVersion,
  stage: Stage,
): Promise<{ program: string; binds: { source: string; target: string }[] }> {
  if (installed.prefix === undefined) return { program: installed.program, binds: [] };
  const bind = await stage(installed.prefix);
  return { program: bind.target + installed.program.slice(installed.prefix.length), binds: [bind] };
}

export async function planNode(installed: InstalledVersion, memoryMiB: number, shimFolder: string, stage: Stage): Promise<StartPlan> {
  const { program, binds } = await stageProgram(installed, stage);
  const shim = await stage(shimFolder);
  return {
    command: [program, ...nodeFlags(memoryMiB), `${shim.target}/main.js`],
    environment: BASE_ENVIRONMENT,
    binds: [...binds, shim],
  };
}

export async function planPython(installed: InstalledVersion, shimFolder: string, stage: Stage): Promise<StartPlan> {
  const { program, binds } = await stageProgram(installed, stage);
  const shim = await stage(shimFolder);
  return {
    command: [program, "-I", "-S", "-B", `${shim.target}/main.py`],
    environment: BASE_ENVIRONMENT,
    binds: [...binds, shim],
  };
}
