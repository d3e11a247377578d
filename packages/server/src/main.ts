import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { KsError } from "@kube-serverless/contracts";
import type { Logger } from "pino";
import { systemClock } from "./clock.ts";
import { ConfigProblems } from "./config/config-problems.ts";
import { readMachineMemoryMiB } from "./config/machine.ts";
import { parseConfig } from "./config/parse-config.ts";
import { armFailpoint } from "./failpoint.ts";
import { type BannerFacts, commandsToTry, formatAddress, formatBanner } from "./platform/banner.ts";

const projectFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const { version } = JSON.parse(readFileSync(join(projectFolder, "package.json"), "utf8")) as { version: string };

async function main(): Promise<void> {
  const result = parseConfig({
    argv: process.argv.slice(2),
    environment: process.env,
    homeFolder: homedir(),
    currentFolder: process.env["INIT_CWD"] ?? process.cwd(),
    machineMemoryMiB: readMachineMemoryMiB(),
    readFile: (path) => readFileSync(path, "utf8"),
    isProgram,
  });
  if (result.kind === "help") return void process.stdout.write(result.text);
  if (result.kind === "version") return void process.stdout.write(`${version}\n`);
  if (result.kind === "problems") throw new ConfigProblems(result.problems);
  const { config } = result;
  // Sandboxes run as other users, who must reach what is made for them; what is private says so itself.
  process.umask(0o022);
  armFailpoint(config.failpoint);
  if (config.removeReplicas) {
    const { removeReplicas } = await import("./platform/remove-replicas.ts");
    return removeReplicas({ ...config, clock: systemClock, log: (message) => void process.stdout.write(`${message}\n`) });
  }
  // Loaded only now, so that help and wrong options answer at once.
  const [{ createServerLog }, start] = await Promise.all([
    import("./telemetry/server-log.ts"),
    config.platform === "kubernetes"
      ? import("./platform/kubernetes.ts").then(({ startKubernetes }) => startKubernetes)
      : import("./platform/standalone.ts").then(({ startStandalone }) => startStandalone),
  ]);
  const log = await createServerLog({ level: config.logLevel, format: config.logFormat, isTerminal: process.stdout.isTTY });
  for (const warning of result.warnings) log.warn(warning);
  const platform = await start(
    config,
    {
      projectFolder,
      searchPath: (process.env["PATH"] ?? "").split(":").filter((folder) => folder !== ""),
      xdgRuntimeFolder: process.env["XDG_RUNTIME_DIR"],
      isRoot: process.getuid?.() === 0,
      version,
      onFatal: (error) => {
        log.fatal({ err: error }, "state cannot be kept; ending");
        process.exit(70);
      },
    },
    log,
  );
  const { facts } = platform;
  stopOnSignals(() => platform.stop(), log);
  announce(facts, config.logFormat === "pretty" || (config.logFormat === "auto" && process.stdout.isTTY), log);
}

/** The same facts to a person as a page, and to a program as one record: its lines stay one JSON object each. */
function announce(facts: BannerFacts, isForPeople: boolean, log: Logger): void {
  if (isForPeople) {
    process.stdout.write(formatBanner(facts));
    return log.info("listening");
  }
  const addresses = facts.addresses.map((address) => formatAddress(address, facts.secure));
  log.info({ pid: process.pid, ...facts, addresses, try: commandsToTry(addresses[0] ?? "", facts.auth) }, "listening");
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** `npm start` hands Ctrl-C on twice within a millisecond, so only a second signal more than a second later leaves at once. */
function stopOnSignals(stop: () => Promise<void>, log: Logger): void {
  let firstAtMs: number | undefined;
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (firstAtMs === undefined) {
        firstAtMs = performance.now();
        stop().then(
          () => process.exit(0),
          (error: unknown) => {
            process.stderr.write(`${String(error)}\n`);
            process.exit(1);
          },
        );
      } else if (performance.now() - firstAtMs > 1000) {
        log.warn("left at once, at a second signal: calls within were cut");
        process.exit(1);
      }
    });
  }
}

/** One line for what the user can mend, such as a host that is not there; the whole story for a defect. */
function explainFailedStart(error: unknown): string {
  const { message, stack, syscall } = error as NodeJS.ErrnoException;
  return error instanceof KsError || error instanceof ConfigProblems || syscall !== undefined ? message : (stack ?? String(error));
}

main().catch((error: unknown) => {
  process.stderr.write(`${explainFailedStart(error)}\n`);
  // A start that failed half-way leaves parts running, which would keep the process and its data folder.
  process.exit(error instanceof ConfigProblems ? 2 : 1);
});
