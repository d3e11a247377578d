import { join } from "node:path";
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/options.ts";
import { detectGo } from "../instances/local/go/go-toolchain.ts";
import type { OutputSink } from "../instances/local/descriptor-output.ts";
import { LocalProvider } from "../instances/local/provider.ts";
import { buildCatalogue, DOCUMENTED_RUNTIMES, installHint } from "../instances/local/runtimes/catalogue.ts";
import { CompiledPython } from "../instances/local/runtimes/compiled-python.ts";
import { detectInterpreters } from "../instances/local/runtimes/installed.ts";
import { ProgramProbes } from "../instances/local/runtimes/program-probes.ts";
import { createSandbox } from "../instances/local/sandbox/create-sandbox.ts";
import { defaultCacheFolder, defaultRuntimeFolder } from "../instances/local/sandbox/options.ts";
import type { Sandbox } from "../instances/local/sandbox/port.ts";
import { startGo } from "./go.ts";
import type { Dispensable } from "../instances/port.ts";
import type { Machine } from "./machine.ts";
import { checkNamedRuntimes } from "./named-runtimes.ts";

export interface LocalRuntimes {
  sandbox: Sandbox;
  createProvider(parts: {
    output: OutputSink;
    idleReplicas(): Iterable<Dispensable>;
    yieldingReplicas(uid: string): Iterable<Dispensable>;
  }): LocalProvider;
  /** Asks programs again that may have changed since the last start, which this one believed. */
  recheck(): Promise<void>;
  stop(): Promise<void>;
}

/** What this machine runs functions with: the sandbox, and the runtimes that are installed. */
export async function findLocalRuntimes(config: Config, machine: Machine, clock: Clock, log: Logger): Promise<LocalRuntimes> {
  const runtimesFolder = join(machine.projectFolder, "runtimes");
  const { isRoot, xdgRuntimeFolder, searchPath, projectFolder } = machine;
  const named = new Map(config.runtimePaths.map(({ runtime, path }) => [runtime, path]));
  const probes = await ProgramProbes.open(join(config.dataFolder, "runtimes.json"));
  await checkNamedRuntimes(named, probes);
  const [sandbox, interpreters, gos] = await Promise.all([
    createSandbox({
      mode: config.sandbox,
      network: config.sandboxNetwork,
      uidRange: { first: config.uidRange.first, count: config.uidRange.last - config.uidRange.first + 1 },
      runtimeFolder: defaultRuntimeFolder({ runAsRoot: isRoot, xdgRuntimeFolder, dataFolder: config.dataFolder }),
      cacheFolder: defaultCacheFolder({ runAsRoot: isRoot, dataFolder: config.dataFolder }),
      runAsRoot: isRoot,
      log,
    }),
    detectInterpreters({ projectFolder, searchPath, named, os: process.platform, arch: process.arch, probes }),
    detectGo({ searchPath, named, probes }),
  ]);
  await probes.save();
  const toolchains = gos.installed;
  const rejected = [...interpreters.rejected, ...gos.rejected];
  const catalogue = buildCatalogue({ installed: [...interpreters.installed, ...toolchains], rejected }, config.strictRuntimes);
  logNearest(catalogue, log);
  const { dataFolder, goCacheMiB: cacheMiB } = config;
  const documentedGo = catalogue.get("go119")?.installed?.program;
  const preparedPrograms = documentedGo === undefined ? [] : [documentedGo];
  const go =
    toolchains.length === 0
      ? undefined
      : await startGo({ toolchains, preparedPrograms, sandbox, clock, runtimesFolder, dataFolder, cacheMiB, log });
  const python = new CompiledPython(join(runtimesFolder, "python"), join(dataFolder, "python"), (error) =>
    log.warn({ err: error }, "Python's shim could not be compiled ahead; replicas start slower"),
  );
  return {
    sandbox,
    createProvider: ({ output, idleReplicas, yieldingReplicas }) =>
      new LocalProvider({
        clock,
        sandbox,
        catalogue,
        installHint: (runtime) => installHint(runtime, rejected),
        runtimesFolder,
        limits: { maxReplicas: config.maxReplicas, maxMemoryMiB: config.maxMemoryMiB },
        pools: buildPools(config, catalogue),
        output,
        python,
        go: go?.support,
        goReady: go?.ready ?? new Promise(() => undefined),
        idleReplicas,
        yieldingReplicas,
        onStartFailed: (error, replicaClass) => log.warn({ err: error, ...replicaClass }, "a replica did not start"),
      }),
    async recheck() {
      for (const program of await probes.recheck()) log.info({ program }, "a program for functions has changed; the next start takes it");
    },
    async stop() {
      probes.stop();
      await Promise.all([go?.stop(), python.stop()]);
    },
  };
}

type Catalogue = ReturnType<typeof buildCatalogue>;

/** Said once, as users may wonder why their function finds another version. */
function logNearest(catalogue: Catalogue, log: Logger): void {
  for (const { info } of catalogue.values()) {
    if (info.available && !info.exact)
      log.info({ runtime: info.name, version: info.version, hint: info.hint }, "runtime runs on the nearest newer version");
  }
}

/** What is kept waiting: the sizes that were said, and the default for the documented runtimes that are there. */
function buildPools(config: Config, catalogue: Catalogue) {
  const sizes = new Map<string, { runtime: string; memoryMiB: number; size: number }>();
  for (const runtime of DOCUMENTED_RUNTIMES) sizes.set(`${runtime}@256`, { runtime, memoryMiB: 256, size: config.poolSize });
  for (const { runtime, memoryMiB = 256, size } of config.pools) sizes.set(`${runtime}@${memoryMiB}`, { runtime, memoryMiB, size });
  return [...sizes.values()]
    .filter(({ runtime, size }) => size > 0 && catalogue.get(runtime)?.installed !== undefined)
    .map(({ runtime, memoryMiB, size }) => ({ replicaClass: { runtime, memoryMiB, network: "outbound" as const }, size }));
}
