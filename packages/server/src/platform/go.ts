import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import { GoArtifacts } from "../instances/go/go-artifacts.ts";
import { GoBuilder } from "../instances/go/go-builder.ts";
import { GoRuntime } from "../instances/local/go/go-runtime.ts";
import type { GoToolchain } from "../instances/local/go/go-toolchain.ts";
import { GoToolkits } from "../instances/local/go/go-toolkits.ts";
import { createSandboxedBuild } from "../instances/local/go/sandboxed-build.ts";
import type { GoSupport } from "../instances/local/provider.ts";
import type { Sandbox } from "../instances/local/sandbox/port.ts";

export interface GoOptions {
  toolchains: readonly GoToolchain[];
  /** Go commands whose tools are made at start. */
  preparedPrograms: readonly string[];
  sandbox: Sandbox;
  clock: Clock;
  runtimesFolder: string;
  dataFolder: string;
  cacheMiB: number;
  log: Logger;
}

/** Go's tools, builder and launchers; the tools are made in the background where the data folder has none yet. */
export async function startGo(
  options: GoOptions,
): Promise<{ support: GoSupport; ready: Promise<void>; builder: GoBuilder; stop(): Promise<void> }> {
  const { toolchains, sandbox, clock, dataFolder, log } = options;
  const toolkits = new GoToolkits({
    toolchains,
    sourceFolder: join(options.runtimesFolder, "go"),
    folder: join(dataFolder, "go", "toolkits"),
    clock,
  });
  const artifacts = new GoArtifacts({ folder: join(dataFolder, "go", "artifacts"), maxBytes: options.cacheMiB * 1024 * 1024, clock });
  const builder = new GoBuilder({
    toolkits,
    artifacts,
    run: createSandboxedBuild(sandbox, clock),
    stage: (source) => sandbox.stage(source),
  });
  const runtime = new GoRuntime({ builder, toolkits, sandbox, functionsFolder: join(sandbox.sharedFolder, "go-functions") });
  await runtime.start();
  let stopping = false;
  // That of the documented runtime alone: others, tens of seconds of work each, are made when a function first needs them.
  const ready = toolkits.prepare(options.preparedPrograms).catch((error: unknown) => {
    if (!stopping) log.error({ err: error }, "Go's tools cannot be made; Go functions will fail to deploy");
    return new Promise<never>(() => undefined);
  });
  const stop = (): Promise<void> => {
    stopping = true;
    return toolkits.stop();
  };
  return { support: runtime, ready, builder, stop };
}
