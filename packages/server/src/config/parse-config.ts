import { isIP } from "node:net";
import { createSecureContext } from "node:tls";
import { formatHelp } from "./help.ts";
import type { DefaultContext, Option } from "./option.ts";
import { type Config, OPTIONS } from "./options.ts";
import { readConfigFile, readFlags, readVariables, type Said, type Source } from "./sources.ts";

export interface ConfigInput extends DefaultContext {
  /** Without the program's own path. */
  argv: readonly string[];
}

export type ConfigResult =
  | { kind: "config"; config: Config; warnings: readonly string[] }
  | { kind: "problems"; problems: readonly string[] }
  | { kind: "help"; text: string }
  | { kind: "version" };

const ALL_OPTIONS: readonly Option<unknown>[] = Object.values(OPTIONS);

/** Everything the server is told, checked as a whole: a flag wins over a variable, that over the file, that over the default. */
export function parseConfig(input: ConfigInput): ConfigResult {
  const flags = readFlags(input.argv, ALL_OPTIONS);
  if (flags.wantsHelp) return { kind: "help", text: formatHelp(ALL_OPTIONS) };
  if (flags.wantsVersion) return { kind: "version" };
  const variables = readVariables(input.environment, ALL_OPTIONS);
  const file = readFileSource(input, flags.configFile ?? input.environment["KS_CONFIG"]);
  const problems = [...flags.problems, ...file.problems];
  const values: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(OPTIONS)) {
    const said = [flags, variables, file].map((source) => source.said.get(option.flag)).find((entry) => entry !== undefined);
    values[key] = readValue(option, said, input, problems);
  }
  const config = values as Config;
  problems.push(...findContradictions(config), ...checkTls(config, input, problems));
  return problems.length > 0 ? { kind: "problems", problems } : { kind: "config", config, warnings: variables.warnings };
}

function readFileSource(input: ConfigInput, path: string | undefined): Source {
  if (path === undefined || path === "") return { said: new Map(), problems: [] };
  try {
    return readConfigFile(path, input.readFile(path), ALL_OPTIONS);
  } catch (error) {
    return { said: new Map(), problems: [`--config ${path} cannot be read: ${(error as Error).message}`] };
  }
}

function readValue(option: Option<unknown>, said: Said | undefined, context: DefaultContext, problems: string[]): unknown {
  if (said === undefined) return option.fallback(context);
  const parsed = option.parse(said.text, context);
  if ("value" in parsed) return parsed.value;
  problems.push(`${said.origin} ${parsed.problem}`);
  // So that what the other values contradict is found, too.
  return option.fallback(context);
}

function findContradictions(config: Config): string[] {
  const problems: string[] = [];
  const open = config.hosts.filter((host) => !isLoopback(host));
  if (config.hosts.length === 0) problems.push("--host must name at least one address");
  if (open.length > 0 && !config.auth && !config.insecureNoAuth) {
    problems.push(
      `--host ${open.join(",")} would let anyone who reaches the port run code here. Add --auth, which asks every caller for a key, ` +
        "listen on 127.0.0.1 behind a proxy that authenticates, or add --insecure-no-auth if the network is trusted",
    );
  }
  problems.push(...findAccessContradictions(config));
  if (open.length > 0 && config.sandbox === "plain") {
    problems.push("--sandbox plain serves on loopback alone; install bubblewrap and use --sandbox auto or require");
  }
  if (config.platform === "kubernetes" && config.kubeconfigFile === undefined && config.apiServerHost === undefined) {
    problems.push("--platform kubernetes needs a pod with a service account, or --kubeconfig");
  }
  return problems;
}

function checkTls({ tlsCertFile, tlsKeyFile }: Config, { readFile }: DefaultContext, problems: readonly string[]): string[] {
  if (tlsCertFile === undefined && tlsKeyFile === undefined) return [];
  if (tlsCertFile === undefined || tlsKeyFile === undefined) {
    const isTold = problems.some((problem) => /tls[-_](cert|key)/i.test(problem));
    return isTold ? [] : ["--tls-cert and --tls-key belong together: give both or neither"];
  }
  try {
    createSecureContext({ cert: readFile(tlsCertFile), key: readFile(tlsKeyFile) });
    return [];
  } catch (error) {
    return [`--tls-cert ${tlsCertFile} with --tls-key ${tlsKeyFile} cannot be used: ${(error as Error).message}`];
  }
}

function findAccessContradictions({ auth, adminKey, adminKeyOfFile, oidc, insecureNoAuth }: Config): string[] {
  const problems: string[] = [];
  if (adminKey !== undefined && adminKeyOfFile !== undefined) problems.push("KS_ADMIN_KEY and --admin-key-file are both given: give one");
  if (auth && insecureNoAuth) problems.push("--auth and --insecure-no-auth contradict each other: give one");
  if (!auth && (adminKey !== undefined || adminKeyOfFile !== undefined || oidc !== undefined)) {
    problems.push("an admin key or --oidc-config has no effect without --auth: add it");
  }
  return problems;
}

/** True for addresses and names that only this machine reaches. */
export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  return isIP(host) === 4 && host.startsWith("127.");
}
